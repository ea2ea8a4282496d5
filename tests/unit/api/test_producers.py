"""Producers that belong to users: claiming, visibility of twins, tracks of those who made them, and usage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

import cli
from api.acestep.tasks import TaskRecord, TaskTrack
from api.auth import keys as api_keys
from core.errors import Refusal
from core.settings import Settings
from storage import Storage, keys
from storage.producers import Owner, Producers
from storage.usage import new_event
from tests.issuer import Issuer, served_issuer
from tests.signed_in import SignedIn, store_twin


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with served_issuer() as issuer:
        yield issuer


@pytest.fixture
def service(issuer: Issuer, store: Storage, tmp_path: Path) -> SignedIn:
    """A service where `ada` with the twin `ada:night` is Ada's."""
    Producers(store).claim("ada", Owner(issuer.url, "ada-sub"))
    store_twin(store, "ada", "night")
    return SignedIn(issuer, store, tmp_path, allow_anonymous=True)


@pytest.fixture
def ada(issuer: Issuer) -> str:
    return issuer.token("ada-sub")


@pytest.fixture
def bob(issuer: Issuer) -> str:
    return issuer.token("bob-sub")


@pytest.fixture
def admin(issuer: Issuer) -> str:
    return issuer.token("root", app_metadata={"role": "admin"})


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


# Claiming


def test_a_free_id_is_claimed_and_is_then_the_users(service: SignedIn, bob: str) -> None:
    assert service.json("GET", "/producers", bob) == {"producers": []}
    assert service.ask("GET", "/producers/bob", bob).status_code == 404
    record = service.json("PUT", "/producers/bob", bob, json={"display_name": " Bob "})
    assert (record["producer_id"], record["owner"], record["display_name"]) == ("bob", "bob-sub", "Bob")
    assert service.json("GET", "/producers", bob)["producers"] == [record]
    assert service.json("GET", "/producers/bob", bob)["bytes"] == 0
    assert service.json("PUT", "/producers/bob", bob) == record  # without a body nothing changes


def test_what_is_taken_is_a_409(service: SignedIn, store: Storage, bob: str) -> None:
    """Another's id, one from before there was sign-in, and one that an API key is for."""
    store.put(keys.upload("older", "job", "beat.wav"), b"x")
    store_twin(store, "trained", "night")
    api_keys.create(store, "server", ["train"], ["reserved"])
    for producer in ("ada", "older", "trained", "reserved"):
        status, message = error(service.ask("PUT", f"/producers/{producer}", bob))
        assert (status, "taken" in message) == (409, True)
    assert service.json("GET", "/producers", bob) == {"producers": []}
    assert service.ask("PUT", "/producers/a b", bob).status_code == 400
    assert service.ask("PUT", "/producers/bob", bob, json={"colour": "red"}).status_code == 400
    assert service.ask("PUT", "/producers/bob", bob, json={"twins": {"night": "friends"}}).status_code == 400
    assert service.ask("PUT", "/producers/bob", bob, json={"display_name": "\u202e"}).status_code == 400
    assert service.json("GET", "/producers", bob) == {"producers": []}


def test_a_token_that_names_its_producers_claims_no_others(service: SignedIn, issuer: Issuer) -> None:
    token = issuer.token("eve-sub", app_metadata={"producer_ids": ["eve", "ada"]})
    assert service.json("PUT", "/producers/eve", token)["owner"] == "eve-sub"
    assert service.json("PUT", "/producers/ada", token)["owner"] == "ada-sub"
    assert service.ask("PUT", "/producers/free", token).status_code == 403
    assert [row["producer_id"] for row in service.json("GET", "/producers", token)["producers"]] == ["ada", "eve"]


def test_only_owners_and_administrators_see_and_change_a_producer(
    service: SignedIn, ada: str, bob: str, admin: str
) -> None:
    for method, path in (
        ("GET", "/producers/ada"),
        ("DELETE", "/producers/ada"),
        ("GET", "/producers/ada/usage"),
        ("GET", "/loras/ada:night"),
        ("GET", "/loras/ada:night/file"),
        ("GET", "/loras/ada:night/versions"),
        ("DELETE", "/loras/ada:night"),
        ("GET", "/datasets/ada"),
    ):
        other = service.ask(method, path, bob)
        absent = service.ask(method, path.replace("ada", "nobody"), bob)
        assert error(other) == (404, absent.json()["error"].replace("nobody", "ada")), path
    assert service.json("GET", "/loras", bob) == {"loras": []}
    assert service.json("PUT", "/producers/ada", admin, json={"display_name": "A."})["owner"] == "ada-sub"
    assert service.json("GET", "/producers", admin)["producers"][0]["display_name"] == "A."
    assert service.ask("GET", "/loras/ada:night/versions", ada).status_code == 200


def test_an_id_that_another_user_claims_meanwhile_stays_theirs(
    service: SignedIn, store: Storage, issuer: Issuer, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producers = Producers(store)

    def not_in_use(*_: object) -> bool:
        producers.claim("new", Owner(issuer.url, "ada-sub"))
        producers.change("new", {"night": "link"}, "Ada")
        return False

    monkeypatch.setattr("api.routes.producers._in_use", not_in_use)
    body = {"display_name": "Bob", "twins": {"night": "public"}}
    assert "taken" in error(service.ask("PUT", "/producers/new", bob, json=body))[1]
    record = producers.find("new")
    assert record and (record.owner, record.display_name) == ("ada-sub", "Ada")
    assert record.twins["night"].visibility == "link"


def test_a_user_claims_so_many_ids_and_no_more(service: SignedIn, bob: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routes.producers.MAX_CLAIMED", 2)
    for producer in ("one", "two", "two"):
        service.json("PUT", f"/producers/{producer}", bob)
    status, message = error(service.ask("PUT", "/producers/three", bob))
    assert (status, "2 producers" in message) == (409, True)
    service.json("DELETE", "/producers/one", bob)
    service.json("PUT", "/producers/three", bob)


def test_uploading_needs_a_claimed_id(service: SignedIn, bob: str) -> None:
    body = {"producer_id": "bob", "bytes": 5}
    status, message = error(service.ask("POST", "/uploads/link", bob, json=body))
    assert (status, "PUT /producers/" in message) == (403, True)
    assert error(service.ask("POST", "/uploads/link", bob, json=body | {"producer_id": "ada"}))[0] == 403
    service.json("PUT", "/producers/bob", bob)
    assert service.ask("POST", "/uploads/link", bob, json=body).status_code == 409  # a folder has no links


def test_a_deleted_producer_leaves_nothing_and_is_free(service: SignedIn, store: Storage, ada: str, bob: str) -> None:
    service.json("PUT", "/producers/ada", ada, json={"twins": {"night": "public"}})
    assert service.track(bob, "ada:night").status_code == 200
    service.json("DELETE", "/producers/ada", ada)
    left = [entry.key for entry in store.list("") if "ada" in entry.key]
    assert left == []
    assert service.track(bob, "ada:night").status_code == 404
    store.put(*new_event("ada:night", 1))  # of a track that was being made when Ada left
    assert service.json("PUT", "/producers/ada", bob)["owner"] == "bob-sub"
    assert service.json("GET", "/producers/ada/usage", bob)["usage"] == []
    assert service.ask("PUT", "/producers/ada", ada).status_code == 409


def test_api_keys_act_for_producers_without_an_owner(service: SignedIn, store: Storage, bob: str) -> None:
    key = api_keys.create(store, "server", ["train"], ["shop"])
    record = service.json("PUT", "/producers/shop", key, json={"twins": {"night": "public"}})
    assert (record["owner"], record["twins"]["night"]["visibility"]) == (None, "public")
    assert service.ask("PUT", "/producers/ada", key).status_code == 403
    assert service.ask("PUT", "/producers/shop", bob).status_code == 409


def test_an_operator_gives_what_exists_an_owner(
    service: SignedIn, store: Storage, bob: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store_twin(store, "older", "night")
    monkeypatch.setattr(cli, "settings", lambda: service.front.settings)
    cli.claim(store, "older", "bob-sub")
    assert "bob-sub" in capsys.readouterr().out
    assert service.track(bob, "older:night").status_code == 200
    for producer, subject in ((None, "bob-sub"), ("a b", "bob-sub"), ("older", None), ("older", "bob\n")):
        with pytest.raises(Refusal):
            cli.claim(store, producer, subject)
    monkeypatch.setattr(cli, "settings", Settings)
    with pytest.raises(Refusal, match="AUTH_ISSUER"):
        cli.claim(store, "older", "bob-sub")


def test_an_administrator_becomes_no_owner_and_may_name_one(
    service: SignedIn, store: Storage, ada: str, bob: str, admin: str
) -> None:
    store_twin(store, "older", "night")
    assert service.json("PUT", "/producers/older", admin, json={"display_name": "O."})["owner"] is None
    assert service.ask("GET", "/producers/older", bob).status_code == 404
    assert service.json("PUT", "/producers/older", admin, json={"owner": "bob-sub"})["owner"] == "bob-sub"
    assert service.ask("GET", "/producers/older", bob).status_code == 200
    assert service.json("PUT", "/producers/new", admin, json={"owner": "bob-sub"})["owner"] == "bob-sub"
    assert service.json("PUT", "/producers/ada", admin, json={"owner": "bob-sub"})["owner"] == "bob-sub"
    assert service.ask("GET", "/producers/ada", ada).status_code == 404
    assert service.ask("PUT", "/producers/x", admin, json={"owner": "bob\n"}).status_code == 400


def test_a_user_names_no_other_owner(service: SignedIn, store: Storage, ada: str, bob: str) -> None:
    for producer in ("ada", "free"):
        status, message = error(service.ask("PUT", f"/producers/{producer}", ada, json={"owner": "bob-sub"}))
        assert (status, "administrator" in message) == (403, True)
    assert Producers(store).find("free") is None
    assert service.json("PUT", "/producers/bob", bob, json={"owner": "bob-sub"})["owner"] == "bob-sub"
    key = api_keys.create(store, "server", ["train"])
    assert service.ask("PUT", "/producers/shop", key, json={"owner": "bob-sub"}).status_code == 403


def test_another_owner_ends_the_links_that_were_handed_out(
    service: SignedIn, store: Storage, ada: str, bob: str, admin: str
) -> None:
    store_twin(store, "ada", "day")
    body = {"twins": {"night": "link", "day": "public"}}
    old = service.json("PUT", "/producers/ada", ada, json=body)["twins"]["night"]["link"]
    assert service.json("PUT", "/producers/ada", admin, json={"owner": "ada-sub"})["twins"]["night"]["link"] == old
    twins = service.json("PUT", "/producers/ada", admin, json={"owner": "bob-sub"})["twins"]
    assert (twins["night"]["visibility"], twins["day"]["visibility"]) == ("link", "public")
    assert twins["night"]["link"] not in (None, old)
    assert service.track(None, "ada:night", link=old).status_code == 404
    assert service.track(None, "ada:night", link=twins["night"]["link"]).status_code == 200


# Twins


def test_a_twin_is_private_until_its_owner_opens_it(service: SignedIn, ada: str, bob: str) -> None:
    for token in (bob, None):
        assert service.track(token, "ada:night").status_code == 404
        assert error(service.track(token, "ada:night"))[1] == error(service.track(token, "ada:none"))[1].replace(
            "none", "night"
        )
    assert service.track(ada, "ada:night").status_code == 200
    service.json("PUT", "/producers/ada", ada, json={"twins": {"night": "public"}})
    for token in (bob, None):
        assert service.track(token, "ada:night").status_code == 200
        assert [row["lora_id"] for row in service.json("GET", "/loras", token)["loras"]] == ["ada:night"]
        assert service.json("GET", "/loras/ada:night", token)["lora_id"] == "ada:night"
    # It may be played, not taken.
    assert service.ask("GET", "/loras/ada:night/file", bob).status_code == 404
    assert service.ask("GET", "/loras/ada:night/versions", bob).status_code == 404
    assert service.ask("POST", "/loras/ada:night/rollback", bob, json={"version": "1" * 16}).status_code == 404
    assert service.track(bob, "ada:night@" + "1" * 16).status_code == 404
    service.json("PUT", "/producers/ada", ada, json={"twins": {"night": "private"}})
    assert service.track(bob, "ada:night").status_code == 404


def test_a_link_opens_a_twin_to_those_who_have_it(service: SignedIn, store: Storage, ada: str, bob: str) -> None:
    store_twin(store, "ada", "day")
    twins = service.json("PUT", "/producers/ada", ada, json={"twins": {"night": "link"}})["twins"]
    link = twins["night"]["link"]
    assert service.track(bob, "ada:night").status_code == 404
    assert service.track(bob, "ada:night", link=link[:-1]).status_code == 404
    assert service.track(bob, "ada:day", link=link).status_code == 404
    for token in (bob, None):
        assert service.track(token, "ada:night", link=link).status_code == 200
        assert service.json("GET", "/loras/ada:night", token, link=link)["lora_id"] == "ada:night"
        assert [row["lora_id"] for row in service.json("GET", "/loras", token, link=link)["loras"]] == ["ada:night"]
        assert service.json("GET", "/loras", token) == {"loras": []}
    assert service.ask("GET", "/loras/ada:night/file", bob, link=link).status_code == 404


def test_a_twin_that_is_made_under_the_name_of_a_deleted_one_is_private(
    service: SignedIn, store: Storage, ada: str, bob: str
) -> None:
    service.json("PUT", "/producers/ada", ada, json={"twins": {"night": "public"}})
    service.json("DELETE", "/loras/ada:night", ada)
    store_twin(store, "ada", "night")
    assert service.track(bob, "ada:night").status_code == 404


# Tracks and usage


def test_a_track_is_its_makers(service: SignedIn, store: Storage, ada: str, bob: str, admin: str) -> None:
    service.json("PUT", "/producers/ada", ada, json={"twins": {"night": "public"}})
    key = api_keys.create(store, "server", ["generate"], ["ada"])
    other_key = api_keys.create(store, "other", ["generate"], ["ada"])
    for lora_id in ("ada:night", None):
        path = service.track(bob, lora_id).json()["output_path"]
        assert "bob" not in path
        seen = {who: service.ask("GET", path, token).status_code for who, token in (("ada", ada), ("bob", bob))}
        assert seen == {"ada": 404, "bob": 200}
        assert service.ask("GET", path).status_code == 404
        assert service.ask("GET", path, admin).status_code == 200
        assert service.ask("GET", f"{path}?format=mp3", ada).status_code == 404
        assert service.ask("GET", path.replace(".wav", "x.wav"), ada).status_code == 404
    path = service.track(key, "ada:night").json()["output_path"]
    asked = [service.ask("GET", path, token).status_code for token in (key, other_key, ada, bob, None)]
    assert asked == [200, 404, 404, 404, 404]
    # Nobody has signed in for this one: its path is all that there is to know.
    path = service.track(None, None).json()["output_path"]
    assert service.ask("GET", path).status_code == 200


def test_ace_steps_api_gives_tasks_and_tracks_to_their_maker_alone(
    service: SignedIn, store: Storage, ada: str, bob: str
) -> None:
    path = service.track(ada, "ada:night").json()["output_path"]
    task = TaskRecord(
        task_id="night",
        owner="user ada-sub",
        process="another",
        state="succeeded",
        created_at=datetime.now(UTC),
        request={"prompt": "x"},
        model="m",
        tracks=[TaskTrack(path=path, seed=1, seconds=0.5)],
    )
    store.put(keys.acestep_task("night"), task.model_dump_json().encode())
    absent = service.json("POST", "/acestep/query_result", bob, json={"task_id_list": ["absent"]})["data"][0]
    for token, heard in ((ada, 200), (bob, 404), (None, 404)):
        assert service.ask("GET", "/acestep/v1/audio", token, params={"path": path}).status_code == heard
        found = service.json("POST", "/acestep/query_result", token, json={"task_id_list": ["night"]})["data"][0]
        assert (found == absent | {"task_id": "night"}) == (heard == 404)
        assert (path.rpartition("/")[2] in found["result"]) == (heard == 200)


def test_an_owner_sees_how_often_a_twin_was_used_and_not_what_was_made(
    service: SignedIn, ada: str, bob: str, admin: str
) -> None:
    service.json("PUT", "/producers/ada", ada, json={"twins": {"night": "public"}})
    assert service.json("GET", "/producers/ada/usage", ada) == {"producer_id": "ada", "usage": []}
    for token in (ada, bob, None):
        assert service.track(token, "ada:night").status_code == 200
    service.track(bob, None)
    for token in (ada, admin):
        (row,) = service.json("GET", "/producers/ada/usage", token)["usage"]
        assert (row["lora_id"], row["tracks"], row["seconds"]) == ("ada:night", 3, 1.5)
        assert set(row) == {"month", "lora_id", "tracks", "seconds"}
    assert service.ask("GET", "/producers/ada/usage", bob).status_code == 404


def test_a_blend_counts_for_each_of_its_twins(service: SignedIn, store: Storage, ada: str) -> None:
    store_twin(store, "ada", "day")
    loras = [{"lora_id": "ada:night"}, {"lora_id": "ada:day"}]
    body = {"prompt": "x", "duration_seconds": 0.5, "response": "url", "loras": loras}
    service.json("POST", "/generate", ada, json=body)
    usage = service.json("GET", "/producers/ada/usage", ada)["usage"]
    assert {row["lora_id"]: row["tracks"] for row in usage} == {"ada:night": 1, "ada:day": 1}


def test_a_blend_with_a_twin_that_is_not_open_is_refused(service: SignedIn, store: Storage, ada: str, bob: str) -> None:
    store_twin(store, "ada", "day")
    service.json("PUT", "/producers/ada", ada, json={"twins": {"night": "public"}})
    loras = [{"lora_id": "ada:night"}, {"lora_id": "ada:day"}]
    answer = service.ask("POST", "/generate", bob, json={"prompt": "x", "duration_seconds": 0.5, "loras": loras})
    assert answer.status_code == 404
