"""A runner's adapter cache, and its timeout."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from adapters.adapter_file import Header
from adapters.library import Library
from adapters.serialization import decode, encode
from adapters.weights import LoraPair, linear_layers
from contract import SamplingOptions
from core.errors import Refusal
from core.settings import settings
from models.ace_step import AceStep
from models.base import Row, Text
from models.checkpoints import Checkpoint
from runners.adapter_cache import AdapterCache
from runners.local import LocalRunners
from runners.messages import AdapterRef, Audio, EditRequest, RunnerState, TrackAnswer, TrackRequest
from storage import Storage, keys, open_storage

TWINS = 4


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return open_storage((tmp_path_factory.mktemp("data")).as_uri())


@pytest.fixture(scope="module")
def refs(storage: Storage, model: AceStep, checkpoint: Checkpoint) -> list[AdapterRef]:
    """Adapters of equal size, in storage but in no model store."""
    found = []
    for number in range(TWINS):
        pairs = {
            name: LoraPair(torch.full((layer.in_features, 2), 1.0 + number), torch.ones(2, layer.out_features))
            for name, layer in linear_layers(model.adapted).items()
            if name.endswith("to_q")
        }
        header = Header(
            "ada", f"kept{number}", "ace_step", "starter", checkpoint.sha256, 2, "j", "2026-01-01T00:00:00+00:00", ""
        )
        data = encode(header, pairs, model)
        key = keys.lora("ada", f"kept{number}")
        storage.put(key, data)
        found.append(AdapterRef(key=key, header=decode(data, model).header))
    return found


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that have been read from storage."""
    read: list[str] = []
    reading = Library.read

    def counted(library: Library, twin: object) -> bytes:
        read.append(twin.key)  # type: ignore[attr-defined]
        return reading(library, twin)  # type: ignore[arg-type]

    monkeypatch.setattr(Library, "read", counted)
    monkeypatch.setattr("adapters.bento_store.load", lambda _: None)
    monkeypatch.setattr("adapters.bento_store.save", lambda *_: None)
    return read


def _sized(
    storage: Storage, model: AceStep, checkpoint: Checkpoint, refs: list[AdapterRef], count: int
) -> AdapterCache:
    """A cache with room for `count` adapters."""
    size = decode(storage.get(refs[0].key), model).nbytes
    return AdapterCache(storage, model, checkpoint, max_bytes=count * size)


async def _use(adapters: AdapterCache, *refs: AdapterRef) -> None:
    async with adapters.hold(refs) as weights:
        assert [each.header.sha256 for each in weights] == [ref.header.sha256 for ref in refs]


def test_the_least_recently_used_is_evicted(
    storage: Storage, model: AceStep, checkpoint: Checkpoint, refs: list[AdapterRef], loads: list[str]
) -> None:
    async def scenario() -> None:
        adapters = _sized(storage, model, checkpoint, refs, 2)
        for number in (0, 1, 0, 2, 0, 1):
            await _use(adapters, refs[number])

    asyncio.run(scenario())
    assert loads == [refs[number].key for number in (0, 1, 2, 1)]


def test_adapters_in_use_are_not_evicted(
    storage: Storage, model: AceStep, checkpoint: Checkpoint, refs: list[AdapterRef], loads: list[str]
) -> None:
    async def scenario() -> None:
        adapters = _sized(storage, model, checkpoint, refs, 1)
        async with adapters.hold(refs[:2]):
            await _use(adapters, refs[2])
            await _use(adapters, refs[0], refs[1])
        assert len(adapters._cached) == 1, "the excess is evicted when it is released"

    asyncio.run(scenario())
    assert loads == [ref.key for ref in refs[:3]]


def test_concurrent_requests_share_one_load(
    storage: Storage,
    model: AceStep,
    checkpoint: Checkpoint,
    refs: list[AdapterRef],
    loads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go = threading.Event()
    reading = Library.read

    def slowly(library: Library, twin: object) -> bytes:
        assert go.wait(30)
        return reading(library, twin)  # type: ignore[arg-type]

    monkeypatch.setattr(Library, "read", slowly)

    async def scenario() -> None:
        adapters = _sized(storage, model, checkpoint, refs, 4)
        waiting = [asyncio.create_task(_use(adapters, refs[0])) for _ in range(5)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()  # the one that started the load
        go.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError) and results[1:] == [None] * 4

    asyncio.run(scenario())
    assert loads == [refs[0].key]


def test_a_failed_load_is_tried_again(
    storage: Storage, model: AceStep, checkpoint: Checkpoint, refs: list[AdapterRef], loads: list[str]
) -> None:
    async def scenario() -> None:
        adapters = _sized(storage, model, checkpoint, refs, 4)
        missing = refs[3].model_copy(update={"key": "loras/nowhere.safetensors"})
        with pytest.raises(Refusal):
            await _use(adapters, refs[0], missing)
        await _use(adapters, refs[3])

    asyncio.run(scenario())


@pytest.fixture
def runners(tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalRunners]:
    for name, value in (tiny | {"STORAGE_URL": tmp_path.as_uri()}).items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield LocalRunners()
    settings.cache_clear()


def _request(seconds: float, timeout: float, steps: int | None = None) -> TrackRequest:
    return TrackRequest(text=Text("x"), seconds=seconds, options=SamplingOptions(seed=1, steps=steps), timeout=timeout)


@pytest.mark.slow
def test_a_track_times_out(runners: LocalRunners) -> None:
    async def scenario() -> None:
        late, made = await asyncio.gather(
            runners["ace_step"].generate(_request(seconds=600, steps=200, timeout=0.5)),
            runners["ace_step"].generate(_request(seconds=1, timeout=600)),
        )
        assert late.status == 504 and "GENERATE_TIMEOUT_SECONDS" in str(late.error)
        assert made.status == 200 and made.pcm

    runners["ace_step"]  # loads in its own thread
    asyncio.run(scenario())


def _audio(seconds: float, subtype: str) -> tuple[np.ndarray, Audio]:
    rng = np.random.default_rng(1)
    samples = (rng.normal(size=(round(seconds * 48_000), 2)) * 0.1).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, samples, 48_000, format="FLAC", subtype=subtype)
    read, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    return read, Audio(flac=file.getvalue(), sha256=subtype)


@pytest.mark.slow
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_an_edit_keeps_its_source(runners: LocalRunners, subtype: str) -> None:
    samples, audio = _audio(2.0, subtype)
    request = _request(seconds=2.0, timeout=60)
    request.edit = EditRequest(task="repaint", source=audio, start=0.5, end=1.0)
    request.reference, request.sample_format = audio, "float32"
    # As it travels to a runner on another machine.
    request = TrackRequest.model_validate_json(request.model_dump_json())

    async def scenario() -> tuple[RunnerState, TrackAnswer]:
        state = await runners["ace_step"].describe()
        return state, await runners["ace_step"].generate(request)

    runners["ace_step"]
    state, answer = asyncio.run(scenario())
    assert state.tasks == ["text", "repaint", "extend", "cover"] and state.takes_reference
    made = np.frombuffer(answer.pcm, "<f4").reshape(-1, 2)
    assert made.shape == samples.shape and answer.seconds == 2
    assert np.array_equal(made[:24_000], samples[:24_000]) and np.array_equal(made[48_000:], samples[48_000:])
    assert not np.array_equal(made[24_000:48_000], samples[24_000:48_000])


def test_latents_travel_with_a_track_and_back(runners: LocalRunners) -> None:
    """The latents of a repaint are those that its source came with, outside the window."""

    async def made(**changes: Any) -> TrackAnswer:
        asked = _request(seconds=2.0, timeout=60).model_copy(update={"keep_latents": True} | changes)
        answer = await runners["ace_step"].generate(TrackRequest.model_validate_json(asked.model_dump_json()))
        return TrackAnswer.model_validate_json(answer.model_dump_json())

    async def scenario() -> tuple[TrackAnswer, TrackAnswer, TrackAnswer]:
        assert (await runners["ace_step"].describe()).keeps_latents
        first = await made()
        source = _audio(2.0, "PCM_16")[1].model_copy(update={"latents": first.latents})
        edit = EditRequest(task="repaint", source=source, start=0.4, end=1.2)
        return first, await made(edit=edit), await made(keep_latents=False)

    runners["ace_step"]
    first, second, without = asyncio.run(scenario())
    assert first.latents and second.latents and without.latents is None
    one, two = (np.frombuffer(each.latents.values, "<f4").reshape(-1, 8) for each in (first, second) if each.latents)
    assert one.shape == (50, 8) and second.latents.gain == first.latents.gain
    kept = [np.array_equal(one[frame], two[frame]) for frame in range(50)]
    assert kept == [not 10 <= frame < 30 for frame in range(50)]


def test_a_take_that_fails_is_told_in_its_place(runners: LocalRunners, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are made as without it; if all fail, the first error is the answer."""
    finish = AceStep.finish
    broken: set[int] = set()

    def failing(model: AceStep, run: Any, row: Row) -> Any:
        if row.options.seed in broken:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return finish(model, run, row)

    monkeypatch.setattr(AceStep, "finish", failing)
    asked = _request(seconds=1, timeout=60, steps=2).model_copy(update={"takes": 3, "keep_latents": True})

    async def made(seeds: set[int]) -> TrackAnswer:
        broken.clear()
        broken.update(seeds)
        answer = await runners["ace_step"].generate(asked)
        return TrackAnswer.model_validate_json(answer.model_dump_json())

    runners["ace_step"]
    whole, partly, none = (asyncio.run(made(seeds)) for seeds in (set(), {1, 3}, {1, 2, 3}))
    assert not whole.failed_takes and all(take.pcm and take.latents for take in whole.takes)
    first, second, third = partly.takes
    assert partly.status == 200 and partly.seconds == whole.seconds == 1
    assert (first.status, first.pcm, first.latents) == (503, b"", None) and "memory" in str(first.error)
    assert second == whole.takes[1] and third.error == first.error
    assert none.status == 503 and not none.takes[0].pcm


def test_a_task_that_the_checkpoint_cannot_do_is_refused(runners: LocalRunners) -> None:
    request = _request(seconds=1.0, timeout=60)
    request.edit = EditRequest(task="lego", source=_audio(1.0, "PCM_16")[1], start=0, end=1, tracks=("drums",))

    async def scenario() -> TrackAnswer:
        return await runners["ace_step"].generate(request)

    runners["ace_step"]
    assert asyncio.run(scenario()).status == 409


@pytest.mark.parametrize(("edited", "field"), [(False, "duration_seconds: 1 s"), (True, "source: 1 s")])
def test_out_of_memory_names_the_field_that_decides_the_length(
    edited: bool, field: str, runners: LocalRunners, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(AceStep, "plan", without_memory)
    request = _request(seconds=1.0, timeout=60)
    if edited:
        request.edit = EditRequest(task="repaint", source=_audio(1.0, "PCM_16")[1], start=0, end=0.5)
    runner = runners["ace_step"]
    answer = asyncio.run(runner.generate(request))
    assert answer.status == 503 and str(answer.error).startswith(field)
