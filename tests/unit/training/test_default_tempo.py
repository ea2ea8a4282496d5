"""The default tempo of a twin: that of most of its segments."""

from __future__ import annotations

import pytest

from models.base import Text
from training.adapter import usual_tempo


@pytest.mark.parametrize(
    ("bpms", "expected"),
    [
        ([90, 140, 120], 120),
        ([90, 140], 90),
        ([60, 60, 100, 100, 130, 140, 140, 140, 220], 140),
        ([60, 100, 130, 140, 220], 130),
        ([100, 100, 124, 126, 128, 128], 126),
        ([70, 70, 70, 140, 140], 70),
        ([140, None], 140),
        ([140, None, None], None),
        ([61, *[None] * 59], None),
        ([None], None),
        ([], None),
    ],
)
def test_a_twin_has_a_tempo_if_half_of_its_segments_have_one(bpms: list[int | None], expected: int | None) -> None:
    assert usual_tempo(Text("music", bpm=bpm) for bpm in bpms) == expected
