"""DC offsets and channels of opposite polarity: repaired and reported."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

from preprocessing.decode import check_ends
from preprocessing.segment import resampled
from storage import Storage, keys
from tests.sounds import RATE, written
from tests.unit.preprocessing.helpers import make, tone


@pytest.mark.slow
@pytest.mark.parametrize("raw", [True, False])
def test_flaws_are_repaired_and_reported(raw: bool, store: Storage, tmp_path: Path) -> None:
    """A DC offset is removed; of channels that cancel each other, one is used, in stereo and mono."""
    quiet = tone(4, channels=1) * 0.4
    store.put("uploads/p/u/offset.wav", written(quiet + 0.7))
    store.put("uploads/p/u/opposite.wav", written(tone(5, channels=1) * [[0.9, -1]]))
    store.put("uploads/p/u/good.wav", written(tone(6)))
    paths = [f"/data/uploads/p/u/{name}.wav" for name in ("offset", "opposite", "good")]
    known = [{"genre": "drone"}] * len(paths)
    made = make(store, tmp_path, upload_paths=paths, metadata_per_file=known, skip_preprocess=raw, profile="native")
    offset, opposite, _ = (np.concatenate(list(resampled(clip.path, RATE, 2))) for clip in made.clips)
    assert abs(offset.mean()) < 1e-3
    for mended, sign in ((offset, 1), (opposite, -1)):
        mono = mended.mean(axis=1)[: 4 * RATE]
        assert np.corrcoef(mono, sign * tone(4, channels=1)[:, 0])[0, 1] > 0.99
    warnings = [file["warnings"] for file in made.record["files"]]
    assert "DC offset of 70% " in warnings[0][0]
    assert "only channel 2 is used" in warnings[1][0]
    assert [len(each) for each in warnings] == [1, 1, 0]
    assert (made.clips[2].path.read_bytes() == written(tone(6))) == raw
    for part in made.record["segments"]:
        assert hashlib.sha256(store.get(keys.from_path(part["path"]))).hexdigest() == part["sha256"]


@pytest.mark.parametrize(
    ("sound", "says"),
    [
        (tone(3) + 0.02, "DC offset of 2%"),
        (tone(3) - [0.0, 0.3], "DC offset of -30%"),
        (tone(3, channels=1) * [[1, -1]], "cancel each other"),
        (tone(3, channels=1) * [[1, -0.8]], "cancel each other"),
        (tone(3, channels=1) * [[1, -1, 1, -1]] + 0.2, "DC offset.*cancel each other"),
        (tone(3), ""),
        (tone(3, channels=1) * [[1, 0]], ""),
        (tone(3, channels=1) * [[0] * 31 + [1]], ""),
        (np.random.default_rng(0).normal(0, 0.1, (RATE, 32)), ""),
        (np.zeros((RATE, 2)), ""),
    ],
)
def test_flaws_are_reported_at_upload(sound: np.ndarray, says: str) -> None:
    warnings = check_ends(io.BytesIO(written(sound))).warnings
    assert bool(warnings) == bool(says)
    assert re.search(says, " ".join(warnings))
