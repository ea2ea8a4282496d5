"""The default tempo of a twin: the median of its segments' tempos."""

from __future__ import annotations

import pytest

from models.base import Text
from training.adapter import median_tempo


@pytest.mark.parametrize(
    ("bpms", "expected"),
    [
        ([90, 140, 120], 120),
        ([90, 140], 90),
        ([140, None], 140),
        ([140, None, None], None),
        ([61, *[None] * 59], None),
        ([None], None),
        ([], None),
    ],
)
def test_a_twin_has_a_tempo_if_half_of_its_segments_have_one(bpms: list[int | None], expected: int | None) -> None:
    assert median_tempo(Text("music", bpm=bpm) for bpm in bpms) == expected
