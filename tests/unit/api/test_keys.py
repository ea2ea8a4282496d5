"""API keys: which tokens are valid, when one is needed, and damaged or unavailable storage."""

from __future__ import annotations

import hmac
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.auth import access, keys
from api.auth.keys.__main__ import command
from core.errors import Refusal
from storage import Damaged, Storage, Unavailable
from storage import keys as stored
from tests.asgi import answer, bearer, guarded, ring, scope


def test_a_key_is_shown_once_and_kept_as_a_digest(store: Storage) -> None:
    token = keys.create(store, "web", ["generate"], ["ada"])
    secret = token.split("_", 2)[2]
    (entry,) = store.list(stored.api_keys())
    assert len(secret) >= 43
    assert secret not in store.get(entry.key).decode()
    found = ring(store).find(token)
    assert found
    assert (found.name, found.scopes, found.producers) == ("web", ["generate"], ["ada"])


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: token + "x",
        lambda token: token.upper(),
        lambda token: token.replace("ptk", "sk"),
        lambda token: "ptk_" + "0" * 16 + "_" + token.split("_", 2)[2],
        lambda token: "_".join(token.split("_", 2)[:2]) + "_",
        lambda token: token.split("_", 2)[2],
        lambda token: "",
        lambda token: "ptk_../../x_" + "a" * 43,
        lambda token: token + "\n",
        lambda token: "\ud800",
    ],
)
def test_a_token_that_is_nearly_right_is_refused(store: Storage, change: Any) -> None:
    token = keys.create(store, "web", ["admin"])
    assert ring(store).find(change(token)) is None


def test_every_comparison_takes_constant_time(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two whole digests are compared in constant time, whether or not the key exists."""
    token = keys.create(store, "web", ["admin"])
    compared: list[tuple[int, int]] = []

    def compare(a: str, b: str) -> bool:
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    known = ring(store)
    for given_token in (token, token[:-1], "ptk_unknown_x", "nonsense", ""):
        known.find(given_token)
    assert compared == [(64, 64)] * 5


def test_a_revoked_key_ends_soon_and_storage_may_be_away(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_AGE_SECONDS", 600.0)
    token = keys.create(store, "web", ["admin"])
    known = ring(store)
    some_id = token.split("_")[1]
    assert keys.revoke(store, some_id)
    assert not keys.revoke(store, some_id)
    assert not keys.revoke(store, "../x")
    known.refresh()
    assert known.find(token)  # as it was last known
    monkeypatch.setattr(keys, "MAX_AGE_SECONDS", 0.0)
    known.refresh()
    assert known.find(token) is None

    def away(*_: Any) -> Any:
        raise Unavailable(503, "storage is away")

    other = keys.create(store, "web", ["admin"])
    known.refresh()
    for method in ("get", "list", "stat"):
        monkeypatch.setattr(store, method, away)
        known.refresh()
        assert known.find(other)
        with pytest.raises(Unavailable):
            ring(store)


def test_a_damaged_key_is_no_key(store: Storage) -> None:
    token = keys.create(store, "web", ["admin"])
    (entry,) = store.list(stored.api_keys())
    document = json.loads(store.get(entry.key))
    for damage in (b"", b"{}", json.dumps(document | {"scopes": ["everything"]}).encode()):
        store.put(entry.key, damage)
        assert ring(store).find(token) is None


def _emptied(store: Storage, root: Path) -> None:
    for entry in list(store.list(stored.api_keys())):
        store.delete(entry.key)


def _without_its_folder(store: Storage, root: Path) -> None:
    shutil.rmtree(root / "api_keys")


def _replaced_by_a_file(store: Storage, root: Path) -> None:
    shutil.rmtree(root / "api_keys")
    (root / "api_keys").write_text("")


def _damaged(store: Storage, root: Path) -> None:
    for path in (root / "api_keys").iterdir():
        path.write_bytes(b"{")
    (root / stored.key_required()).unlink()


def _misnamed(store: Storage, root: Path) -> None:
    for path in (root / "api_keys").iterdir():
        path.rename(path.with_suffix(".bak"))
    (root / stored.key_required()).unlink()


def _with_a_damaged_mark(store: Storage, root: Path) -> None:
    _emptied(store, root)
    (root / stored.key_required()).write_bytes(b"no")


def _with_a_misnamed_mark(store: Storage, root: Path) -> None:
    shutil.rmtree(root / "api_keys")
    mark = root / stored.key_required()
    mark.rename(mark.with_name(".key_required~"))


def _with_a_folder_for_the_mark(store: Storage, root: Path) -> None:
    shutil.rmtree(root / "api_keys")
    (root / stored.key_required()).unlink()
    (root / stored.key_required()).mkdir()


def _with_a_file_for_the_marks_folder(store: Storage, root: Path) -> None:
    for folder in ("api_keys", "access"):
        shutil.rmtree(root / folder)
    (root / "access").write_text("")


def _linked_to_nowhere(store: Storage, root: Path) -> None:
    for folder in ("api_keys", "access"):
        shutil.rmtree(root / folder)
    (root / "api_keys").symlink_to(root / "gone")


def _linked_out_of_storage(store: Storage, root: Path) -> None:
    shutil.rmtree(root / "access")
    (root / "api_keys").rename(root.parent / "secrets")
    (root / "api_keys").symlink_to(root.parent / "secrets")


@pytest.mark.parametrize(
    "lose",
    [
        *(_emptied, _without_its_folder, _replaced_by_a_file, _damaged, _misnamed, _with_a_damaged_mark),
        *(_with_a_misnamed_mark, _with_a_folder_for_the_mark, _with_a_file_for_the_marks_folder),
        *(_linked_to_nowhere, _linked_out_of_storage),
    ],
    ids=lambda lose: lose.__name__.strip("_").replace("_", " "),
)
def test_a_key_stays_needed_whatever_is_lost(store: Storage, tmp_path: Path, lose: Any) -> None:
    token = keys.create(store, "web", ["admin"])
    lose(store, tmp_path / "store")
    app, served = guarded(store)
    assert answer(app, scope())[0] == 401
    assert answer(app, scope(authorization=bearer(token)))[0] == 401
    assert served.asked == []


def test_reopen_fails_while_something_still_demands_a_key(store: Storage, tmp_path: Path) -> None:
    keys.create(store, "web", ["admin"])
    _emptied(store, tmp_path / "store")
    (tmp_path / "store/access/key_required~").write_text("")
    with pytest.raises(Refusal, match="/data/access/"):
        keys.reopen(store)
    (tmp_path / "store/access/key_required~").unlink()
    keys.reopen(store)
    assert not ring(store).needed


def test_a_key_older_than_the_mark_sets_it(store: Storage) -> None:
    token = keys.create(store, "web", ["admin"])
    store.delete(stored.key_required())
    assert ring(store).needed
    keys.revoke(store, token.split("_")[1])
    assert ring(store).needed


def test_a_key_stays_needed_though_storage_is_deleted(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.create(store, "web", ["admin"])
    monkeypatch.setattr(keys, "MAX_AGE_SECONDS", 0.0)
    app, _ = guarded(store)
    assert answer(app, scope())[0] == 401
    shutil.rmtree(tmp_path / "store")
    assert answer(app, scope())[0] == 401


def test_a_key_that_cannot_be_read_affects_no_other(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a damaged key nor one that storage cannot give now, which counts as it was last read."""
    token, other = keys.create(store, "web", ["admin"]), keys.create(store, "ada", ["train"])
    monkeypatch.setattr(keys, "MAX_AGE_SECONDS", 0.0)
    known, read = ring(store), store.get
    for error in (Damaged("x"), Unavailable(503, "permission denied")):

        def get(key: str, error: Refusal = error) -> bytes:
            if token.split("_")[1] in key:
                raise error
            return read(key)

        monkeypatch.setattr(store, "get", get)
        assert ring(store).find(other)
        assert ring(store).find(token) is None
        known.refresh()
        assert known.find(other)
    monkeypatch.setattr(store, "get", read)
    known.refresh()
    assert known.find(token)


def test_requests_do_not_wait_for_storage_that_hangs(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    token = keys.create(store, "web", ["admin"])
    monkeypatch.setattr(access, "_PATIENCE_SECONDS", 0.2)
    app, _ = guarded(store)
    assert answer(app, scope(authorization=bearer(token)))[0] == 200
    monkeypatch.setattr(keys, "MAX_AGE_SECONDS", 0.0)
    ends = threading.Event()
    monkeypatch.setattr(store, "list", lambda prefix: iter([ends.wait()][1:]))
    start = time.monotonic()
    try:
        assert answer(app, scope(authorization=bearer(token)))[0] == 200
        assert answer(app, scope())[0] == 401
        assert time.monotonic() - start < 5
        fresh, _ = guarded(store)
        assert answer(fresh, scope())[0] == 503
    finally:
        ends.set()


def test_keys_from_a_shell(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.keys.__main__._storage", lambda: store)
    shell = CliRunner()
    made = shell.invoke(command, ["create", "ada", "--scope", "train", "--producer", "ada", "--jobs-at-once", "2"])
    assert made.exit_code == 0
    found = ring(store).find(made.output.strip())
    assert found
    assert (found.producers, found.jobs_at_once) == (["ada"], 2)
    listed = shell.invoke(command, ["list"])
    assert f"{found.id}  {found.created_at:%Y-%m-%d}  ada: train for ada" in listed.output
    for wrong in (
        ["create", "x", "--scope", "root"],
        ["create", "x"],
        ["create", "x", "--scope", "train", "--producer", "../x"],
    ):
        assert shell.invoke(command, wrong).exit_code == 2
    assert shell.invoke(command, ["revoke", "nobody"]).exit_code == 1
    web = shell.invoke(command, ["create", "web", "--scope", "generate", "--names-visitors"]).output.strip()
    visited = ring(store).find(web)
    assert visited and visited.names_visitors and not found.names_visitors
    assert "web: generate for every producer, names visitors" in shell.invoke(command, ["list"]).output
    refused = shell.invoke(command, ["reopen"])
    assert (refused.exit_code, found.id in refused.output) == (1, True)
    for some_id in (found.id, visited.id):
        assert shell.invoke(command, ["revoke", some_id]).exit_code == 0
    assert list(store.list(stored.api_keys())) == []
    assert ring(store).needed
    assert shell.invoke(command, ["reopen"]).exit_code == 0
    assert not ring(store).needed
