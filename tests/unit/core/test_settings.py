"""Settings: where they are read from, and the tables that are generated from them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.settings import Settings
from scripts import settings_table


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_BODY_BYTES", "")
    monkeypatch.setenv("KEEP_UPLOADS_DAYS", "2")
    read = Settings()
    assert read.max_body_bytes == Settings.model_fields["max_body_bytes"].default
    assert read.keep_uploads_days == 2


def test_a_storage_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="STORAGE_URL"):
        Settings(storage_url="http://x/y")


def test_the_public_url_ends_with_a_slash() -> None:
    assert Settings(public_url="http://music.internal:3000").public_url == "http://music.internal:3000/"
    assert Settings(public_url="https://music.example/api/").public_url == "https://music.example/api/"
    for url in (
        "music.example",
        "ftp://music.example",
        "https://",
        "https://music.example/?a=b",
        "https://a@b.example",
    ):
        with pytest.raises(ValidationError, match="PUBLIC_URL"):
            Settings(public_url=url)


def test_every_setting_has_a_row_and_a_description() -> None:
    lines = settings_table.markdown().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [name.upper() for name in Settings.model_fields]
    assert all(field.description for field in Settings.model_fields.values())
    assert all(row.endswith(". |") for row in rows)
    assert "| `MAX_BODY_BYTES` | `100663296` (96 MiB) | Size in bytes of the largest JSON body. |" in rows
    assert lines[0] == "## Storage"


@pytest.mark.parametrize(
    "url",
    [
        "https://ref.supabase.co/auth/v1",
        "https://tenant.example/",
        "http://127.0.0.1:9000/auth/v1",
        "http://[::1]:9000",
    ],
)
def test_an_issuer_is_https_or_on_this_machine(url: str) -> None:
    assert Settings(auth_issuer=url, auth_audience="authenticated").auth_issuer == url


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/auth/v1",
        "http://127.0.0.1.example.com",
        "http://10.0.0.5",
        "ftp://issuer.example",
        "issuer.example",
        "https://",
        "https://user@issuer.example",
        "https://issuer.example/?tenant=1",
        "https://issuer.example/#x",
        "https://issuer.example:port",
        "https://issuer.example/\n",
    ],
)
def test_other_issuers_are_refused(url: str) -> None:
    for fields in ({"auth_issuer": url}, {"auth_issuer": "https://issuer.example", "auth_jwks_url": url}):
        with pytest.raises(ValidationError, match="must be https"):
            Settings(auth_audience="authenticated", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"auth_issuer": "https://issuer.example"}, "AUTH_AUDIENCE"),
        ({"auth_jwt_secret": "short"}, "32 bytes"),
        ({"auth_role_claim": "user_metadata.role"}, "user_metadata"),
        ({"auth_producers_claim": "user_metadata"}, "user_metadata"),
    ],
)
def test_settings_that_would_let_strangers_in_are_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**fields)  # type: ignore[arg-type]
