"""Make the shipped starters: `python -m recipes.first_edition BACKEND STAGE`.

    ace_step   codec, latents, model, decoder; then pieces, audio_tokens, timbre, tasks, robust_decoder, pack_tasks,
               evaluate_tasks
    musicgen   codec, codes, model, robust_decoder
    and for both pack, unpack, evaluate, adapt

Each stage resumes where it stopped, and writes to `runs/BACKEND` (not in git). On a GPU add `--device cuda` (before
the stage) and more steps.
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
    parser.add_argument("--runs", type=Path, help="the working folder; default: runs/BACKEND")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile: slower, needs no compiler")
    stages = parser.add_subparsers(dest="stage", required=True)
    for name in ("codec", "decoder"):
        stage = stages.add_parser(name)
        stage.add_argument("--steps", type=int, default=3000)
        stage.add_argument("--batch", type=int, default=6)
    for name, songs in (("latents", 1440), ("codes", 6000), ("pieces", 1200)):
        stage = stages.add_parser(name)
        stage.add_argument("--songs", type=int, default=songs)
        stage.add_argument("--first", type=int, default=0, help="number of the first song")
    for name, steps, rate in (("model", 6000, 1.5e-3), ("tasks", 4000, 6e-4)):
        stage = stages.add_parser(name)
        stage.add_argument("--steps", type=int, default=steps)
        stage.add_argument("--rate", type=float, default=rate, help="peak learning rate")
    for name, steps in (("audio_tokens", 3000), ("timbre", 400)):
        stages.add_parser(name).add_argument("--steps", type=int, default=steps)
    stage = stages.add_parser("robust_decoder")
    stage.add_argument("--checkpoint", type=Path, help="default: the one that ships")
    stage.add_argument("--steps", type=int, default=2750, help="of MusicGen's, 600 are enough")
    stage.add_argument("--music", type=Path, required=True, help="the clips that `python -m recipes.music` wrote")
    for name in ("pack", "pack_tasks"):
        stages.add_parser(name).add_argument("--to", type=Path, help="default: the checkpoint that ships")
    stage = stages.add_parser("evaluate_tasks")
    stage.add_argument("--checkpoint", type=Path, help="default: the one that ships")
    stage.add_argument("--cases", type=int, default=40)
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
    """Run one stage. Each imports only the libraries that it needs."""
    backend, device, stage = options.backend, options.device, options.stage
    runs: Path = options.runs or Path("runs") / backend
    shipped = STARTERS / backend

    def module(name: str) -> Any:
        return import_module(f"{__package__}.{backend}.{name}")

    if stage in ("codec", "decoder"):
        module("codec").train_codec(runs, options.steps, options.batch, device, not options.no_compile, stage)
    elif stage in ("latents", "codes"):
        module(stage).encode_songs(runs, options.first, options.songs, device, not options.no_compile)
    elif stage == "model":
        module("model").train_model(runs, options.steps, device, options.rate, not options.no_compile)
    elif stage == "pieces":
        module("tasks.pieces").encode_pieces(runs, options.first, options.songs, device, not options.no_compile)
    elif stage == "audio_tokens":
        module("tasks.audio_tokens").train_audio_tokens(runs, options.steps, device)
    elif stage == "timbre":
        module("tasks.timbre_training").train_timbre(runs, options.steps, device)
    elif stage == "tasks":
        module("tasks.training").train_tasks(runs, options.steps, device, options.rate, not options.no_compile)
    elif stage == "robust_decoder":
        module(stage).train_robust_decoder(runs, options.checkpoint or shipped, options.music, options.steps)
    elif stage in ("pack", "pack_tasks"):
        target = options.to or shipped
        module("model" if stage == "pack" else "tasks.pack").pack(runs, target)
        print(f"{target}: {sum(path.stat().st_size for path in target.rglob('*') if path.is_file()) / 1e6:.1f} MB")
    elif stage == "unpack":
        source = options.checkpoint or shipped
        module("tasks.pack" if (source / "audio_tokenizer").exists() else "model").unpack(source, runs)
    elif stage == "evaluate":
        from .checkpoint import load_starter
        from .evaluate import evaluate

        pairs = [pair.split("=") for pair in options.sampling.split(",") if pair]
        sampling = {name: int(value) if name == "steps" else float(value) for name, value in pairs}
        starter = load_starter(backend, options.checkpoint or shipped, device)
        evaluate(starter, runs / "evaluation", options.prompts, sampling)
    elif stage == "evaluate_tasks":
        from .checkpoint import load_starter

        starter = load_starter(backend, options.checkpoint or shipped, device)
        module("tasks.evaluate").evaluate_tasks(starter, runs / "evaluation", options.cases)
    elif stage == "adapt":
        from .adapt import adapt
        from .checkpoint import load_starter

        adapt(load_starter(backend, options.checkpoint or shipped, device), tuple(options.style), options.steps)


if __name__ == "__main__":
    main()
