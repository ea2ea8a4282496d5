"""The figures of a track where a part of them cannot be measured."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
import soundfile

from generation.figures import Goal, measure

RATE = 32_000


@pytest.mark.slow
def test_without_the_twins_music_the_other_figures_are_known() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(1).normal(0, 0.1, (4 * RATE, 1)).clip(-1, 1), RATE, format="WAV")
    found = asyncio.run(measure(buffer.getvalue(), "wav", Goal(bpm=120, own_music=b"PK\3\4 damaged")))
    assert found and found.loudness is not None and found.twin_distance is None


def test_a_file_that_cannot_be_read_has_no_figures() -> None:
    assert asyncio.run(measure(b"", "wav", Goal())) is None
