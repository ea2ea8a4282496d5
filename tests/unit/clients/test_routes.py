"""The Python client has a method for every route, with every parameter and field, and reads every answer."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from producer_twin import AsyncProducerTwin, ProducerTwin
from producer_twin.requests import GenerateOptions, RetrainOptions, SubmitOptions, TrainOptions
from pydantic import BaseModel

from api.openapi.document import DOCUMENTED
from tests.unit.clients.served import FILE, IDEMPOTENCY_KEY, ServedExamples

TWIN, PATH = "ada:night", "/data/outputs/ada/track.wav"
# The client's own: it fetches the audio when it is asked for.
SET_BY_THE_CLIENT = {"response"}
LINKS = ["secret"]
TRAINING: Any = dict.fromkeys(TrainOptions.__annotations__, "x")

CALLS: list[Callable[[Any, Path], Any]] = [
    lambda client, folder: client.uploads.upload("ada", folder / "beat.wav", job_id="takes", filename="beat.wav"),
    lambda client, folder: client.uploads.store("ada", b"RIFF", filename="beat.wav", job_id="takes"),
    lambda client, folder: client.uploads.link("ada", 10, filename="beat.wav", job_id="takes"),
    lambda client, folder: client.uploads.analysis("/data/uploads/ada/takes/beat.wav"),
    lambda client, folder: client.training.train("ada", [PATH], **TRAINING),
    lambda client, folder: client.training.submit("ada", [PATH], **TRAINING),
    lambda client, folder: client.training.status("5f0c1e1e"),
    lambda client, folder: client.training.result("5f0c1e1e"),
    lambda client, folder: client.jobs.list(producer_id="ada", state="done"),
    lambda client, folder: client.jobs.get("takes"),
    lambda client, folder: client.jobs.delete("takes"),
    lambda client, folder: client.jobs.cancel("takes"),
    lambda client, folder: client.jobs.resume("takes"),
    lambda client, folder: client.jobs.result("takes"),
    lambda client, folder: client.jobs.events("takes"),
    lambda client, folder: client.jobs.report("takes"),
    lambda client, folder: client.jobs.report_page("takes"),
    lambda client, folder: client.jobs.preview("takes", "preview_1.mp3"),
    lambda client, folder: client.tracks.generate(
        "trap", request_id="mine", **dict.fromkeys(GenerateOptions.__annotations__, "x")
    ),
    lambda client, folder: client.tracks.generate(
        "trap",
        source_file=folder / "beat.wav",
        reference_file=folder / "beat.wav",
        request_id="mine",
        **(dict.fromkeys(GenerateOptions.__annotations__, "x") | {"tracks": ["drums"]}),
    ),
    lambda client, folder: client.tracks.generate_takes("trap", 4, request_id="mine"),
    lambda client, folder: client.tracks.generate_takes("trap", 4, source_file=folder / "beat.wav"),
    lambda client, folder: client.tracks.submit("trap", **dict.fromkeys(SubmitOptions.__annotations__, "x")),
    lambda client, folder: client.tracks.submit(
        "trap",
        source_file=folder / "beat.wav",
        reference_file=folder / "beat.wav",
        **(dict.fromkeys(SubmitOptions.__annotations__, "x") | {"tracks": ["drums"]}),
    ),
    lambda client, folder: client.tracks.events("twins:ada:a"),
    lambda client, folder: client.tracks.wait("twins:ada:a"),
    lambda client, folder: client.tracks.listen("twins:ada:a"),
    lambda client, folder: client.tracks.queue("mine"),
    lambda client, folder: client.tracks.list(
        producer_id="ada", lora_id=TWIN, text="trap", parent="base:a", liked=True, cursor="x", limit=10
    ),
    lambda client, folder: client.tracks.get("twins:ada:a"),
    lambda client, folder: client.tracks.change("twins:ada:a", title="Night drive", liked=True),
    lambda client, folder: client.tracks.delete("twins:ada:a"),
    lambda client, folder: client.tracks.peaks("twins:ada:a"),
    lambda client, folder: client.tracks.read(PATH, format="mp3"),
    lambda client, folder: client.tracks.save(PATH, folder / "track.flac"),
    lambda client, folder: client.twins.list(producer_id="ada"),
    lambda client, folder: client.twins.get(TWIN),
    lambda client, folder: client.twins.delete(TWIN),
    lambda client, folder: client.twins.versions(TWIN),
    lambda client, folder: client.twins.roll_back(TWIN, "0f1e2d3c4b5a6978"),
    lambda client, folder: client.twins.retrain(TWIN, **dict.fromkeys(RetrainOptions.__annotations__, "x")),
    lambda client, folder: client.twins.import_adapter("ada", "night", folder / "beat.wav", backend="ace_step"),
    lambda client, folder: client.twins.export(TWIN, folder / "twin.safetensors", version="0f1e2d3c4b5a6978"),
    lambda client, folder: client.producers.list(),
    lambda client, folder: client.producers.set("ada", display_name="Ada", twins={"night": "link"}, owner="user-ada"),
    lambda client, folder: client.producers.usage("ada"),
    lambda client, folder: client.producers.storage("ada"),
    lambda client, folder: client.producers.delete("ada"),
    lambda client, folder: client.producers.dataset("ada"),
    lambda client, folder: client.service.backends(),
    lambda client, folder: client.service.webhooks(),
    lambda client, folder: client.service.live(),
    lambda client, folder: client.service.ready(),
    lambda client, folder: client.service.status_page(),
    lambda client, folder: client.service.metrics(),
    lambda client, folder: client.service.openapi(),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "beat.wav").write_bytes(b"RIFF")
    return tmp_path


def made_synchronously(folder: Path) -> tuple[ServedExamples, list[Any]]:
    served = ServedExamples()
    with ProducerTwin(http=httpx.Client(transport=httpx.MockTransport(served)), twin_links=LINKS) as client:
        answers = [call(client, folder) for call in CALLS]
        return served, [list(answer) if inspect.isgenerator(answer) else answer for answer in answers]


def made_asynchronously(folder: Path) -> tuple[ServedExamples, list[Any]]:
    served = ServedExamples()

    async def made() -> list[Any]:
        answers = []
        async with AsyncProducerTwin(
            http=httpx.AsyncClient(transport=httpx.MockTransport(served)), twin_links=LINKS
        ) as client:
            for call in CALLS:
                answer = call(client, folder)
                answers.append([each async for each in answer] if inspect.isasyncgen(answer) else await answer)
        return answers

    return served, asyncio.run(made())


either = pytest.mark.parametrize("made", [made_synchronously, made_asynchronously])


@either
def test_every_route_has_a_method(made: Callable[[Path], tuple[ServedExamples, list[Any]]], folder: Path) -> None:
    served, _ = made(folder)
    asked = {(route.method, route.path) for route in served.fields if route.documented}
    assert asked == {(route.method, route.path) for route in DOCUMENTED}


@either
def test_every_parameter_and_field_can_be_sent(
    made: Callable[[Path], tuple[ServedExamples, list[Any]]], folder: Path
) -> None:
    served, _ = made(folder)
    for route in DOCUMENTED:
        known = {parameter.name for parameter in route.parameters}
        for model in filter(None, (route.body, route.form)):
            known |= set(model.model_fields)
        if route.makes:
            known.add(IDEMPOTENCY_KEY)
        if route.form:
            known |= set(route.form_files)
        assert served.fields[route] | (SET_BY_THE_CLIENT & known) == known, route.path


@either
def test_every_answer_is_read(made: Callable[[Path], tuple[ServedExamples, list[Any]]], folder: Path) -> None:
    for call, answer in zip(CALLS, made(folder)[1], strict=True):
        for each in answer if isinstance(answer, list) else [answer]:
            assert isinstance(each, BaseModel | bytes | str | Path | dict | None), inspect.getsource(call)
            if isinstance(each, Path):
                assert each.read_bytes() == FILE
