"""The OpenAPI document says what is served: no route more, none less, with examples that are right."""

from __future__ import annotations

import io
import json
import struct
from importlib import import_module

import av
import pytest
import soundfile
from pydantic import BaseModel

from api.openapi import web_routes
from api.openapi.document import DOCUMENTED, document
from api.openapi.fields import FIELDS
from api.routes.route import Route
from api.routes.table import ROUTES
from contract import FORMATS, Accept, BlendPart, LoraScales
from core.settings import ROOT
from tests.api import Api, Json, beat, checked, error_of


def test_what_bentoml_serves_is_in_the_table() -> None:
    """But for two routes of tasks, which are closed by not being there."""
    served = set()
    for method in import_module("service").ProducerTwin.apis.values():
        served.add(("POST", method.route))
        if method.is_task:
            served |= {("POST", f"{method.route}/submit")}
            served |= {("GET", f"{method.route}/{name}") for name in ("status", "get")}
    rows = {(route.method, route.path) for route in ROUTES if route.handler is None}
    assert served <= rows
    assert rows - served == {
        ("GET", path) for path in ("/livez", "/readyz", "/healthz", "/schema.json", "/", "/static_content/{path}")
    }


def test_every_route_is_there_once() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("route", DOCUMENTED, ids=lambda route: f"{route.method} {route.path}")
def test_the_examples_are_right(route: Route) -> None:
    if route.body:
        route.body.model_validate(route.body_example)
    if route.answer:
        assert route.answer_example is not None
        route.answer[0].model_validate(route.answer_example)


def test_the_web_app_has_the_document_as_it_is() -> None:
    kept = json.loads((ROOT / "web" / "openapi.json").read_text())
    assert kept == json.loads(json.dumps(document())), "run `make web/openapi.json`"


def test_the_web_app_passes_on_what_the_table_says() -> None:
    kept = (ROOT / "web" / "lib" / "server" / "routes.json").read_text()
    assert kept == web_routes.text(), "run `make web/lib/server/routes.json`"


def test_every_field_that_is_sent_is_explained() -> None:
    sent: set[type[BaseModel]] = {Accept, BlendPart, LoraScales}
    sent |= {model for route in DOCUMENTED for model in (route.body, route.form) if model}
    assert {model.__name__: set(model.model_fields) for model in sent} == {
        name: set(fields) for name, fields in FIELDS.items()
    }


def test_the_limits_are_in_it() -> None:
    fields = document()["components"]["schemas"]["GenerateRequest"]["properties"]
    assert (fields["prompt"]["minLength"], fields["prompt"]["maxLength"]) == (1, 2000)
    assert {"minimum": 0, "exclusiveMaximum": 2**32, "type": "integer"} in fields["seed"]["anyOf"]


def test_the_service_answers_it(api: Api) -> None:
    assert api.get("/docs.json") == json.loads(json.dumps(document()))


def documented(method: str, path: str, status: int) -> bool:
    return str(status) in document()["paths"][path][method]["responses"]


def test_refusals_are_those_of_the_document(api: Api) -> None:
    """Of each kind one, by what a client may well do wrong."""
    asked: list[tuple[str, str, str, Json | None, int]] = [
        ("get", "/jobs/nobodys", "/jobs/{job_id}", None, 404),
        ("get", "/jobs?state=asleep", "/jobs", None, 400),
        ("get", "/datasets/nobody", "/datasets/{producer_id}", None, 404),
        ("get", "/loras/nobody:none", "/loras/{lora_id}", None, 404),
        ("get", "/loras?colour=red", "/loras", None, 400),
        ("post", "/generate", "/generate", {"prompt": " "}, 400),
        ("post", "/train/submit", "/train/submit", {"producer_id": "a", "upload_paths": ["/data/uploads/a/b/c"]}, 404),
    ]
    for method, url, path, body, status in asked:
        error_of(api.client.request(method, url, json=body), status)
        assert documented(method, path, status), (method, path, status)


def test_an_upload_is_listened_to_before_it_is_trained_on(api: Api) -> None:
    path = api.upload("listener", beat(20), filename="beat.wav")
    told = checked(api.client.get("/uploads/analysis", params={"path": path}))
    assert told["path"] == path and told["format"] == "wav" and told["seconds"] == pytest.approx(20, abs=0.01)
    assert told["bpm"] > 0 and 0 <= told["bpm_confidence"] <= 1 and told["key"].split()[1] in ("major", "minor")
    assert told["peak"] <= 0 and told["loudness"] < 0
    assert set(told["embedded"].values()) == {None}


def test_an_analysis_tells_the_tags_inside_the_file(api: Api) -> None:
    name = b"LIST" + struct.pack("<I", 18) + b"INFOINAM" + struct.pack("<I", 6) + b"Night\0"
    acid = b"acid" + struct.pack("<IIHHfIHHf", 24, 0, 60, 0, 0.0, 8, 4, 4, 92.5)
    data = beat(4) + name + acid
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    path = api.upload("listener", data, filename="tagged.wav")
    told = checked(api.client.get("/uploads/analysis", params={"path": path}))["embedded"]
    nothing = dict.fromkeys(("artist", "album", "genre", "key"))
    assert told == {"title": "Night", "bpm": 92.5} | nothing


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/data/uploads/listener/none/beat.wav", 404),
        ("/data/uploads/../loras/x", 400),
        ("/etc/passwd", 400),
        ("/data/loras/x.safetensors", 404),
        ("", 400),
    ],
)
def test_only_uploads_can_be_listened_to(api: Api, path: str, status: int) -> None:
    assert "path" in error_of(api.client.get("/uploads/analysis", params={"path": path}), status)


@pytest.mark.parametrize("wanted", FORMATS)
def test_a_stored_track_comes_in_any_format(api: Api, wanted: str) -> None:
    made = api.post("/generate", prompt="dark", duration_seconds=1, seed=3, response="url")
    answer = api.client.get(made["output_path"], params={"format": wanted})
    assert answer.status_code == 200
    if wanted == "m4a":
        with av.open(io.BytesIO(answer.content), "r") as container:
            assert (container.duration or 0) / 1e6 == pytest.approx(1, abs=0.1)
            assert "AI-generated" in container.metadata["comment"]
        return
    file = soundfile.SoundFile(io.BytesIO(answer.content))
    assert file.format == {"opus": "OGG"}.get(wanted, wanted.upper())
    assert file.frames / file.samplerate == pytest.approx(1, abs=0.1)
    assert "AI-generated" in file.copy_metadata()["comment"]


def test_formats_that_cannot_be_had(api: Api) -> None:
    made = api.post("/generate", prompt="dark", duration_seconds=1, output_format="mp3", response="url")
    assert "format" in error_of(api.client.get(made["output_path"], params={"format": "wav"}), 400)
    assert "format" in error_of(api.client.get(made["output_path"], params={"format": "exe"}), 400)
    error_of(api.client.get("/data/outputs/none.wav", params={"format": "mp3"}), 404)


def test_forms_can_be_filled_in() -> None:
    """Their fields and their file are said apart: a part that forbade what the other adds would forbid every form."""
    made = document()
    parts = [
        part
        for operations in made["paths"].values()
        for operation in operations.values()
        for part in operation.get("requestBody", {})
        .get("content", {})
        .get("multipart/form-data", {})
        .get("schema", {})
        .get("allOf", [])
        if "$ref" in part
    ]
    assert parts
    for part in parts:
        assert "additionalProperties" not in made["components"]["schemas"][part["$ref"].rpartition("/")[2]]
