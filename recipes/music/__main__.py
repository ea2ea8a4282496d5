"""Make training music: `python -m recipes.music STAGE`.

    scores     public-domain tunes as plain notes (music21)
    clips      music from them and from the synthesiser (pyfluidsynth)

Each stage resumes where it stopped, and writes to `--runs` (not in git). `recipes/SOURCES.md` lists what is needed and
what was taken from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

PIECES = {"ryansMammoth": 260, "oneills1850": 160, "airdsAirs": 120}
"""Pieces read from each collection."""
CLIPS = "music"
"""The folder of the clips, below `--runs`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.prog = "python -m recipes.music"
    parser.add_argument("--runs", type=Path, default=Path("runs/starter"), help="where the work goes")
    stages = parser.add_subparsers(dest="stage", required=True)
    stages.add_parser("scores")
    stage = stages.add_parser("clips")
    stage.add_argument("--font", type=Path, action="append", required=True, help="a SoundFont; several take turns")
    stage.add_argument("--first", type=int, default=0)
    stage.add_argument("--count", type=int, default=480)
    options = parser.parse_args()
    runs: Path = options.runs
    runs.mkdir(parents=True, exist_ok=True)
    if options.stage == "scores":
        from .scores import write_pieces

        write_pieces(runs / "pieces.jsonl", PIECES)
    else:
        from .corpus import ClipRenderer, write_shards
        from .scores import read_pieces

        renderer = ClipRenderer(read_pieces(runs / "pieces.jsonl"), options.font)
        write_shards(runs / CLIPS, renderer, options.first, options.count)


if __name__ == "__main__":
    main()
