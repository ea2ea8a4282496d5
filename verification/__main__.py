"""Prove that this machine runs a checkpoint as it should.

    python -m verification --random 2B                     # random weights in the real sizes: 2B, XL, musicgen-small
    python -m verification --ace-step ACE-Step/Ace-Step1.5
    python -m verification --musicgen facebook/musicgen-small

Writes verification.json and verification.md into the folder --out. Ends with 1 if a check failed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from verification.command import GROUPS, MINUTES, verify
from verification.random_checkpoints import NAMES_OF_SIZES


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m verification", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--random", choices=NAMES_OF_SIZES, help="build a checkpoint of this size with random weights")
    what.add_argument("--ace-step", help="an ACE-Step checkpoint: starter, a folder, or <hub id>[@revision]")
    what.add_argument("--musicgen", help="a MusicGen checkpoint: starter, a folder, or <hub id>[@revision]")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="checks that begin later are skipped")
    parser.add_argument("--only", action="append", choices=GROUPS, help="a group of checks; may be given several times")
    parser.add_argument("--out", type=Path, default=Path("build") / "verification", help="the folder of the results")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("producer_twin.verification").setLevel(logging.INFO)
    backend, name = next(
        (backend, name)
        for backend, name in (
            ("random", options.random),
            ("ace_step", options.ace_step),
            ("musicgen", options.musicgen),
        )
        if name
    )
    return verify(backend, name, options.device, options.dtype, options.minutes * 60, options.out, options.only)


if __name__ == "__main__":
    sys.exit(main())
