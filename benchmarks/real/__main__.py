"""Twins of real music, against the base model, the codec, and the composer's own held music.

    python -m benchmarks.real FOLDER [--composers severn maxstack] [--backends ace_step musicgen]

FOLDER has a folder for each composer with `train/` and `held/`; `benchmarks.real.prepare` makes one. Each composer's
`train/` is uploaded and trained on with the default recipe, as `cli.py` does. Then tracks are generated with and
without the twin, for neutral prompts and for the dataset's own captions. A table for each twin has these rows:

    real       excerpts of `train/`
    codec      the same excerpts through the codec alone
    others     excerpts of the other composers' `train/`
    base       without the twin
    twin       with it
    twin − base, by seed

and these columns, means with intervals of 95 % over seeds (bootstrap): pulse; persistence of tones; steady lines (the
highest, and the mean of those at multiples of 75 and 150 Hz and at 3 kHz); and the energy distance to `held/` in
musicnn's embedding, of the MagnaTagATune network, because the report has the other. The excerpts are as many and as
long as the tracks. For checkpoints with level channels a list shows how much of the latents of held music one step
predicts (R²). The ear is a verdict by these tracks alone (`benchmarks.real.ear`); the last table says whether each
report's verdict agrees with it. Twins, tracks, pictures and figures are written to `--out`; a twin that is already
there is not trained again.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--composers", nargs="+", help="only these; the others still count as `others`")
    parser.add_argument("--backends", nargs="+", default=["ace_step"])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each track and excerpt")
    parser.add_argument("--max-steps", type=int, help="instead of the default recipe's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/real"))
    options = parser.parse_args()
    # Settings are read when they are first used, and by the training process.
    folder = options.out.resolve()
    os.environ |= {
        "STORAGE_URL": (folder / "data").as_uri(),
        "BENTOML_HOME": str(folder / "bentoml"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": str(options.threads),
    }
    from benchmarks.real.compare import compare

    compare(options)


if __name__ == "__main__":
    main()
