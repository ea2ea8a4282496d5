"""The figures of a track where a part of them cannot be measured."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
import soundfile

from generation.figures import Goal, measure
from preprocessing.memorised import TrainingSegments
from recipes.synthesiser import render, sample_song

RATE = 32_000
SONG = render(sample_song(np.random.default_rng(1), "techno"), 12, RATE, 1)[0]


def _file(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format="WAV")
    return buffer.getvalue()


@pytest.mark.slow
def test_without_the_twins_music_the_other_figures_are_known() -> None:
    damaged = b"PK\3\4 damaged"
    goal = Goal(bpm=120, own_music=damaged, training_segments=damaged)
    found = asyncio.run(measure(_file(SONG), "wav", goal))
    assert found and found.loudness is not None
    assert found.twin_distance is None and found.nearest_segment is None


def test_a_track_that_repeats_a_training_segment_says_which() -> None:
    segments = TrainingSegments()
    for number, seed in enumerate((2, 1, 3)):
        other = sample_song(np.random.default_rng(seed), "techno")
        segments.add(number, SONG if seed == 1 else render(other, 12, RATE, 1)[0], RATE)
    goal = Goal(training_segments=segments.write())
    found = asyncio.run(measure(_file(SONG[2 * RATE :]), "wav", goal))
    assert found and found.nearest_segment
    assert found.nearest_segment.segment == 1 and found.nearest_segment.memorised
    assert 0.8 < found.nearest_segment.similarity <= 1
    other = render(sample_song(np.random.default_rng(9), "trap"), 8, RATE, 1)[0]
    far = asyncio.run(measure(_file(other), "wav", goal))
    assert far and far.nearest_segment and not far.nearest_segment.memorised


def test_a_file_that_cannot_be_read_has_no_figures() -> None:
    assert asyncio.run(measure(b"", "wav", Goal())) is None
