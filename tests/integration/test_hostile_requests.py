"""Odd JSON in requests: it is refused with the name of its field, or what was stored can be read again."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any, Never

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api import ACE_STEP_ONLY, Api, Json, beat, checked, error_of, running, wait_until

JSON = {"content-type": "application/json"}
# Numbers that are not finite, which JSON cannot express.
NOT_FINITE = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400")
# Odd values that a record can hold.
ODD = (
    *("1e308", "-0.0", "1e-400", "1" * 100, "null", "true", '"Infinity"', '"NaN"', "[" * 6 + "]" * 6),
    *(
        '"\\ud83d\\ude00"',
        '"\\u0000"',
        '"\\u2028"',
        '"é"',
        '"<b>\\"&"',
        '"' + "k" * 4_000 + '"',
        '"' + "é" * 4_000 + '"',
    ),
)
ATOMS = (
    *(*NOT_FINITE, *ODD, "1" * 5_000, "1" * 4_000, '"\\ud800"', '"\\udc00\\ud800"', '"' + "é" * 9_000 + '"'),
    *("[" * 40 + "]" * 40, "[" * 3_000 + "]" * 3_000),
)
ODD_NAMES = ('"bpm"', '"odd"', '""', '"\\u0000"', '"__proto__"', '"é"', '"' + "n" * 4_000 + '"')
NAMES = (*ODD_NAMES, '"\\ud800"')


def metadata(names: tuple[str, ...], atoms: tuple[str, ...]) -> st.SearchStrategy[str]:
    """JSON objects as text, in which a name may occur twice."""

    def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pairs = st.lists(st.tuples(st.sampled_from(names), values), max_size=3)
        return pairs.map(lambda items: f"{{{', '.join(': '.join(item) for item in items)}}}")

    lists = lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")  # noqa: E731
    return objects(st.recursive(st.sampled_from(atoms), lambda inner: lists(inner) | objects(inner), max_leaves=4))


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[tuple[Api, str]]:
    """A service whose trainer is busy, so that other jobs stay queued, and the path of an upload."""
    with running(tmp_path_factory.mktemp("hostile"), tiny | ACE_STEP_ONLY, ("ace_step",)) as api:
        path = api.upload("eve", beat(4), job_id="takes", filename="beat.wav")
        api.post("/train/submit", producer_id="eve", upload_paths=[path], job_id="long", max_steps=100_000)
        wait_until(lambda: api.get("/jobs/long")["state"] == "training")
        yield api, path
        checked(api.client.post("/jobs/long/cancel"))


def no_constant(name: str) -> Never:
    raise AssertionError(f"{name} was stored")


def read_back(api: Api, job_id: str) -> Json:
    """Read the job's record by every route. Returns the stored record."""
    assert api.get(f"/jobs/{job_id}")["job_id"] == job_id
    assert job_id in [job["job_id"] for job in api.get("/jobs")["jobs"]]
    assert job_id in [job["job_id"] for job in api.get("/jobs", state="queued")["jobs"]]
    stored: Json = json.loads((api.folder / f"jobs/{job_id}.json").read_text(), parse_constant=no_constant)
    return stored


numbers = itertools.count()


@settings(max_examples=150)
@given(
    metadata(ODD_NAMES, ODD) | metadata(NAMES, ATOMS),
    st.sampled_from(("", "", "", "seed", "max_steps", "rank", "learning_rate")),
    st.sampled_from(ATOMS),
)
def test_what_is_stored_of_a_request_can_be_read(busy: tuple[Api, str], text: str, field: str, value: str) -> None:
    api, path = busy
    job_id = f"hostile-{next(numbers)}"
    more = f', "{field}": {value}' if field else ""
    body = (
        f'{{"producer_id": "eve", "model_name": "{job_id}", "job_id": "{job_id}", "upload_paths": ["{path}"], '
        f'"metadata_per_file": [{text}]{more}}}'
    )
    answer = api.client.post("/train/submit", content=body, headers=JSON)
    if answer.status_code == 200:
        stored = read_back(api, job_id)
        assert stored["request"]["metadata_per_file"] == [json.loads(text)]
        assert checked(api.client.post(f"/jobs/{job_id}/cancel"))["state"] == "cancelled"
    else:
        error_of(answer, 400)
        error_of(api.client.get(f"/jobs/{job_id}"), 404)


@pytest.mark.parametrize("number", NOT_FINITE)
def test_a_number_without_end_is_refused_by_name(busy: tuple[Api, str], number: str) -> None:
    api, path = busy
    train = f'"producer_id": "eve", "upload_paths": ["{path}"], "max_steps": 1, '
    bodies = [
        (route, train + f'"metadata_per_file": [{{"a": [{{"b": {number}}}]}}]', "metadata_per_file.0.a.0.b")
        for route in ("/train", "/train/submit")
    ]
    bodies += [(route, train + f'"learning_rate": {number}', "learning_rate") for route in ("/train", "/train/submit")]
    for field in ("duration_seconds", "lora_scale", "guidance", "temperature"):
        bodies.append(("/generate", f'"prompt": "a", "{field}": {number}', field))
    bodies += [
        ("/generate", f'"prompt": "a", "loras": [{{"lora_id": "a:b", "weight": {number}}}]', "loras.0.weight"),
        ("/store-upload", f'"producer_id": "eve", "content_base64": {number}', "content_base64"),
        ("/uploads/link", f'"producer_id": "eve", "bytes": {number}', "bytes"),
        ("/loras/eve:m/retrain", f'"seed": {number}', "seed"),
        ("/loras/eve:m/rollback", f'"version": {number}', "version"),
    ]
    before = api.stored()
    for route, body, field in bodies:
        said = error_of(api.client.post(route, content=f"{{{body}}}", headers=JSON), 400)
        assert said.startswith(f"{field}: it is not a finite number"), (route, said)
    changed = set(before.keys() ^ api.stored().keys())
    assert not {name for name in changed if not name.startswith("job_runs/long")}


@pytest.mark.parametrize("route", ["/train", "/train/submit", "/generate", "/store-upload", "/uploads/link"])
def test_any_atom_anywhere_is_an_answer(busy: tuple[Api, str], route: str) -> None:
    api, _ = busy
    for atom in ATOMS:
        for body in (
            atom,
            f'{{"producer_id": {atom}}}',
            f"{{{NAMES[-1]}: {atom}}}",
            f'{{"prompt": {atom}, "loras": {atom}}}',
        ):
            error_of(api.client.post(route, content=body, headers=JSON), 400)


def test_a_report_is_read_though_an_older_version_wrote_nan(busy: tuple[Api, str]) -> None:
    api, _ = busy
    report = api.get("/jobs/long/report.json")
    file = api.folder / "job_runs/long/report.json"
    wait_until(lambda: checked(api.client.post("/jobs/long/cancel"))["state"] == "cancelled")
    file.write_text(json.dumps(report | {"held_out": {"with_twin": math.nan}}))
    answer: Any = api.get("/jobs/long/report.json")
    assert answer["held_out"] == {"with_twin": None}
