"""Render the reference music of training.evaluation.reference: `python -m recipes.synthesiser.reference`."""

from __future__ import annotations

import json

import numpy as np
import soundfile

from training.evaluation.reference import FOLDER

from . import GENRES, caption, metadata, render, sample_song
from .instruments import RATE

SEED = 1_500
SECONDS = 10.0


def main() -> None:
    prompts = {}
    for number, genre in enumerate(GENRES):
        rng = np.random.default_rng([SEED, number])
        song = sample_song(rng, genre)
        fields = metadata(song)
        name = f"{genre.replace(' ', '_')}.ogg"
        prompts[name] = {
            "prompt": caption(song, rng),
            "bpm": fields["bpm"],
            "key": fields["keyscale"],
            "time_signature": fields["timesignature"],
        }
        soundfile.write(FOLDER / name, render(song, SECONDS, RATE, 2).T, RATE, format="OGG", subtype="VORBIS")
    (FOLDER / "prompts.json").write_text(json.dumps(prompts, indent=2) + "\n")


if __name__ == "__main__":
    main()
