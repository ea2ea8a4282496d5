"""Preprocessing: speed against pydub with ffmpeg, memory, accuracy of tempo, key and captions, and damaged files.

    python -m benchmarks.preprocessing speed      one hour of WAV and of MP3, alternating with pydub and ffmpeg
    python -m benchmarks.preprocessing memory     peak memory for a file of three hours
    python -m benchmarks.preprocessing analysis   tempo and key of 40 fixed songs of the synthesiser (or of others)
    python -m benchmarks.preprocessing render --pieces=… --font=… --folder=…  render scores with known tempo and key
    python -m benchmarks.preprocessing scores --folder=…  tempo, key and first bar of those of them that were kept out
    python -m benchmarks.preprocessing fit --folder=…  fit the weights of the analysis to the others, and to 160 songs
    python -m benchmarks.preprocessing captions --folder=…        the local tagger's words for 60 labelled segments
    python -m benchmarks.preprocessing captions_speed --folder=…  seconds to analyse and tag a minute of music
    python -m benchmarks.preprocessing copies [--folder=…]        duplicates: copies of songs, and different songs
    python -m benchmarks.preprocessing fuzz       1,000 damaged files, none of which may crash or hang it

`speed` and `memory` need ffmpeg, `speed` also pydub: `apt-get install ffmpeg`, `pip install pydub`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .accuracy import analysis, scores
from .captions import captions, captions_speed
from .copies import copies
from .cost import CHILDREN, child, memory, speed
from .damaged import fuzz
from .fitting import fit
from .scores import render
from .songs import MEASURED_SONGS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Callable[..., None], **options: Any) -> None:
        one = commands.add_parser(name)
        for option, default in options.items():
            one.add_argument(f"--{option}", type=type(default), default=default)
        one.set_defaults(run=lambda given: run(**{option: getattr(given, option) for option in options}))

    command("speed", speed, hours=1.0, rounds=3)
    command("memory", memory, hours=3.0)
    command("analysis", analysis, first=MEASURED_SONGS[0], songs=len(MEASURED_SONGS))
    command("render", render, pieces="pieces.jsonl", font="FluidR3_GM.sf2", folder="scores", first=0, songs=363)
    command("scores", scores, folder="scores")
    command("fit", fit, folder="scores")
    command("captions", captions, folder="real")
    command("captions_speed", captions_speed, folder="real")
    command("copies", copies, folder="", synthesiser=24, copied=24)
    command("fuzz", fuzz, count=1000, seed=1)
    one = commands.add_parser("child")
    one.add_argument("name", choices=CHILDREN)
    one.add_argument("path", type=Path)
    one.set_defaults(run=lambda given: child(given.name, given.path))
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
