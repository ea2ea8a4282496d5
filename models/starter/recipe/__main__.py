"""One command a stage: `python -m models.starter.recipe codec|latents|model|decoder|pack|unpack|evaluate|adapt`.

Each goes on where it stopped, and leaves its work in `runs/` (not in git). On a GPU add `--device cuda` and more steps.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch

RUNS = Path("runs")
CHECKPOINT = Path(__file__).parents[1] / "ace_step"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.starter.recipe", description=__doc__)
    parser.add_argument("--runs", type=Path, default=RUNS, help="where the work goes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile: slower, needs no compiler")
    stages = parser.add_subparsers(dest="stage", required=True)
    for name, steps in (("codec", 3000), ("decoder", 3000)):
        stage = stages.add_parser(name)
        stage.add_argument("--steps", type=int, default=steps)
        stage.add_argument("--batch", type=int, default=6)
    stage = stages.add_parser("latents")
    stage.add_argument("--songs", type=int, default=1440)
    stage = stages.add_parser("model")
    stage.add_argument("--steps", type=int, default=6000)
    stage.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    stage = stages.add_parser("pack")
    stage.add_argument("--to", type=Path, default=CHECKPOINT)
    stage = stages.add_parser("unpack")
    stage.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    stage = stages.add_parser("evaluate")
    stage.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    stage.add_argument("--prompts", type=int, default=160)
    stage.add_argument("--sampling", default="16,3,2", help="steps, guidance, shift")
    stage = stages.add_parser("adapt")
    stage.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    stage.add_argument("--style", action="append", default=[], help="an unseen style; default: all of them")
    stage.add_argument("--steps", type=int, help="default: as many as the service takes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message=".*weight_norm.*")
    run(options)


def run(options: argparse.Namespace) -> None:
    """The stages import only what they need, so that one stage's libraries are not every stage's start-up."""
    runs, device = options.runs, options.device
    if options.stage in ("codec", "decoder"):
        from .codec import train_codec

        train_codec(runs, options.steps, options.batch, device, not options.no_compile, options.stage)
    elif options.stage == "latents":
        from .latents import make_latents

        make_latents(runs, options.songs, device, not options.no_compile)
    elif options.stage == "model":
        from .model import train_model

        train_model(runs, options.steps, device, options.rate)
    elif options.stage == "pack":
        from .model import pack

        pack(runs, options.to)
    elif options.stage == "unpack":
        from .model import unpack

        unpack(options.checkpoint, runs)
    elif options.stage == "evaluate":
        from .evaluate import evaluate
        from .sampling import Sampling

        steps, guidance, shift = options.sampling.split(",")
        sampling = Sampling(int(steps), float(guidance), float(shift))
        evaluate(options.checkpoint, runs / "evaluation", options.prompts, device, sampling)
    elif options.stage == "adapt":
        from .adapt import adapt

        adapt(options.checkpoint, tuple(options.style), options.steps, device)


if __name__ == "__main__":
    main()
