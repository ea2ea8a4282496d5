"""Write a song to a sound file: `python -m recipes.synthesiser --genre trap --seed 1 beat.wav`."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import soundfile

from . import caption, metadata, render, sample_song
from .genres import STYLES
from .song import NOTES, SCALES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.synthesiser", description=__doc__)
    parser.add_argument("path", help="the file to write: .wav, .flac, .mp3 or .ogg")
    parser.add_argument("--genre", choices=STYLES, help="default: one drawn by the seed")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bpm", type=int)
    parser.add_argument("--key", metavar="NOTE MODE", help='such as "C# minor"')
    parser.add_argument("--no-drums", action="store_true")
    parser.add_argument("--sample-rate", type=int, default=48_000)
    parser.add_argument("--channels", type=int, choices=(1, 2), default=2)
    options = parser.parse_args()

    fixed: dict[str, Any] = {}
    if options.bpm:
        fixed["bpm"] = options.bpm
    if options.key:
        note, _, mode = options.key.partition(" ")
        if note not in NOTES or mode not in SCALES:
            parser.error(f"--key wants one of {', '.join(NOTES)} and minor or major")
        fixed |= {"root": NOTES.index(note), "mode": mode}
    if options.no_drums:
        fixed["drums"] = False

    rng = np.random.default_rng(options.seed)
    song = sample_song(rng, options.genre, **fixed)
    audio = render(song, options.seconds, options.sample_rate, options.channels)
    soundfile.write(options.path, audio.T, options.sample_rate)
    print(f"{options.path}: {caption(song, rng)} | {metadata(song)}")


if __name__ == "__main__":
    main()
