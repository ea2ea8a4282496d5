"""How the starters are made: `python -m recipes.first_edition BACKEND STAGE`.

    ace_step   codec, latents, model, decoder
    musicgen   codec, codes, model
    and for both pack, unpack, evaluate, adapt

Each stage goes on where it stopped, and leaves its work in `runs/BACKEND` (not in git). On a GPU add `--device cuda`
(before the stage) and more steps.
"""

from __future__ import annotations

import argparse
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

STARTERS = Path(__file__).parents[2] / "models" / "starter"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.prog = "python -m recipes.first_edition"
    parser.add_argument("backend", choices=["ace_step", "musicgen"])
    parser.add_argument("--runs", type=Path, help="where the work goes; default: runs/BACKEND")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile: slower, needs no compiler")
    stages = parser.add_subparsers(dest="stage", required=True)
    for name in ("codec", "decoder"):
        stage = stages.add_parser(name)
        stage.add_argument("--steps", type=int, default=3000)
        stage.add_argument("--batch", type=int, default=6)
    for name, songs in (("latents", 1440), ("codes", 6000)):
        stage = stages.add_parser(name)
        stage.add_argument("--songs", type=int, default=songs)
        stage.add_argument("--first", type=int, default=0, help="number of the first: later songs are new ones")
    stage = stages.add_parser("model")
    stage.add_argument("--steps", type=int, default=6000)
    stage.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    stage = stages.add_parser("pack")
    stage.add_argument("--to", type=Path, help="default: the checkpoint that ships")
    for name in ("unpack", "evaluate", "adapt"):
        stage = stages.add_parser(name)
        stage.add_argument("--checkpoint", type=Path, help="default: the one that ships")
        if name == "evaluate":
            stage.add_argument("--prompts", type=int, default=160)
            stage.add_argument("--sampling", default="", help="such as steps=16,guidance=3; default: the checkpoint's")
        if name == "adapt":
            stage.add_argument("--style", action="append", default=[], help="an unseen style; default: all of them")
            stage.add_argument("--steps", type=int, help="default: as many as the service takes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message=".*weight_norm.*")
    run(options)


def run(options: argparse.Namespace) -> None:
    """The stages import only what they need, so that one stage's libraries are not every stage's start-up."""
    backend, device, stage = options.backend, options.device, options.stage
    runs: Path = options.runs or Path("runs") / backend
    shipped = STARTERS / backend

    def room(name: str) -> Any:
        return import_module(f"{__package__}.{backend}.{name}")

    if stage in ("codec", "decoder"):
        room("codec").train_codec(runs, options.steps, options.batch, device, not options.no_compile, stage)
    elif stage in ("latents", "codes"):
        room(stage).encode_songs(runs, options.first, options.songs, device, not options.no_compile)
    elif stage == "model":
        room("model").train_model(runs, options.steps, device, options.rate, not options.no_compile)
    elif stage == "pack":
        target = options.to or shipped
        room("model").pack(runs, target)
        print(f"{target}: {sum(path.stat().st_size for path in target.rglob('*') if path.is_file()) / 1e6:.1f} MB")
    elif stage == "unpack":
        room("model").unpack(options.checkpoint or shipped, runs)
    elif stage == "evaluate":
        from .evaluate import evaluate
        from .studio import open_studio

        pairs = [pair.split("=") for pair in options.sampling.split(",") if pair]
        sampling = {name: int(value) if name == "steps" else float(value) for name, value in pairs}
        studio = open_studio(backend, options.checkpoint or shipped, device)
        evaluate(studio, runs / "evaluation", options.prompts, sampling)
    elif stage == "adapt":
        from .adapt import adapt
        from .studio import open_studio

        adapt(open_studio(backend, options.checkpoint or shipped, device), tuple(options.style), options.steps)


if __name__ == "__main__":
    main()
