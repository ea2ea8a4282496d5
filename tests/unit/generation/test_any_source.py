"""A repaint of any file that can be a source: the result has the file's own samples outside the window."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import GenerateRequest
from core.errors import Refusal
from generation.editing.recordings import Recordings, Source
from generation.editing.splice import splice
from generation.editing.windows import window_of
from generation.encode import Sound, encode
from generation.outbox import Outbox
from generation.provenance import Provenance
from preprocessing.recording import Target
from storage import open_storage
from tests.sounds import written

MODEL_RATE = 48_000
TARGET = Target(MODEL_RATE, 2, 60.0)
# The dtypes in which the samples of each subtype are compared.
DTYPES = {"PCM_16": "int16", "PCM_24": "int32", "FLOAT": "float32"}


@pytest.fixture(scope="module")
def recordings() -> Iterator[Recordings]:
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(f"file://{folder}/data")
        yield Recordings(Outbox(storage, "any source", Path(folder) / "outbox"))


def source_of(recordings: Recordings, file: bytes) -> Source:
    with tempfile.TemporaryFile(buffering=0) as sent:
        sent.write(file)
        return asyncio.run(recordings.source(None, sent, TARGET))


def noise(seconds: float, rate: int, channels: int) -> np.ndarray:
    return np.random.default_rng(rate).normal(0, 0.2, (round(seconds * rate), channels)).clip(-1, 1)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    rate=st.sampled_from([4_000, 11_025, 44_100, 96_000, 192_000]),
    channels=st.sampled_from([1, 2]),
    subtype=st.sampled_from(list(DTYPES)),
    seconds=st.floats(0.2, 1.0),
    edges=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_the_rest_is_the_files_own(
    recordings: Recordings, rate: int, channels: int, subtype: str, seconds: float, edges: tuple[float, float]
) -> None:
    file = written(noise(seconds, rate, channels), rate, subtype=subtype)
    source = source_of(recordings, file)
    start, end = (edge * source.seconds for edge in sorted(edges))
    end = min(max(end, start + 0.11), source.seconds)
    start = min(start, end - 0.11)
    asked = GenerateRequest(prompt="a", task="repaint", source="/data/outputs/base/a.wav", start=start, end=end)
    window = window_of(asked, source.seconds)
    made = Sound((noise(window.length, MODEL_RATE, 2).astype(np.float32),), MODEL_RATE)
    edited, _ = encode(splice(source, made, window), "wav", Provenance("ace_step", "starter", 1))
    own, _ = soundfile.read(io.BytesIO(file), dtype=DTYPES[subtype], always_2d=True)
    result, new_rate = soundfile.read(io.BytesIO(edited), dtype=DTYPES[subtype], always_2d=True)
    assert (new_rate, result.shape) == (rate, own.shape)
    first, last = round(window.start * rate), round(window.end * rate)
    assert np.array_equal(result[:first], own[:first]) and np.array_equal(result[last:], own[last:])
    assert not np.array_equal(result[first:last], own[first:last])


@pytest.mark.parametrize(("seconds", "channels", "named"), [(1.0, 6, "6 channels"), (0.005, 1, "0.1 s"), (0, 1, "0")])
def test_files_that_can_be_no_source(recordings: Recordings, seconds: float, channels: int, named: str) -> None:
    with pytest.raises(Refusal, match=named) as refused:
        source_of(recordings, written(noise(seconds, 48_000, channels), 48_000))
    assert refused.value.status == 400
