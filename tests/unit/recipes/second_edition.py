"""A working folder for tests of the second edition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from recipes.music.corpus import SECONDS
from recipes.second_edition.codec.analysis import fit_from_shards
from recipes.second_edition.codec.architecture import RATE
from recipes.second_edition.model.clips import encode_corpus, encode_songs

SCORE: dict[str, Any] = {
    "kind": "score",
    "cents": 12.0,
    "style": "orchestral",
    "instruments": {"melody": ["violin"], "inner": ["strings"], "bass": ["double bass"]},
    "bpm": 90,
    "tonic": 2,
    "mode": "minor",
    "bar": 3.0,
}


def corpus_folder(folder: Path) -> Path:
    """Four shards of one pulsing noise, all "scores", and songs, encoded into `folder`."""
    (folder / "music").mkdir()
    rng = np.random.default_rng(0)
    for shard in range(4):
        gate = np.exp(-8 * (np.arange(round(SECONDS * RATE)) / RATE % 0.5))
        audio = 3000 * gate * rng.standard_normal((2, round(SECONDS * RATE)))
        np.save(folder / "music" / f"{shard:05d}.npy", audio.astype(np.int16))
        (folder / "music" / f"{shard:05d}.json").write_text(json.dumps([{**SCORE, "number": shard}, SCORE]))
    fit_from_shards(folder / "music").save(folder / "latents.safetensors")
    encode_corpus(folder)
    encode_songs(folder, 40, 40)
    return folder
