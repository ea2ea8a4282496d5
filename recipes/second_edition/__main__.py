"""Make the second edition of the starters: `python -m recipes.second_edition STAGE`.

    latents    fit the definition of the latents to the music in `--runs` (`python -m recipes.music`)
    decoder    train the decoder on latents and noise
    encoder    train the encoder to predict the latents
    ceiling    measure what latents and decoder preserve of real music
    clips      latents of the music and of the synthesiser's songs
    model      train the transformer and its text encoder on them
    pieces     latents of songs with their stems
    parts      train the audio tokens of covers and the encoder of references on them
    tasks      train everything together
    pack       assemble the checkpoint
    heard      measure whether prompts for other genres than the synthesiser's are heard

Each stage resumes where it stopped, and writes to `--runs` (not in git). `recipes/SOURCES.md` lists what is
needed and what was taken from it.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.prog = "python -m recipes.second_edition"
    parser.add_argument("--runs", type=Path, default=Path("runs/starter"), help="where the work goes")
    parser.add_argument("--threads", type=int, default=1)
    stages = parser.add_subparsers(dest="stage", required=True)
    stages.add_parser("latents")
    for name, steps, batch in (("decoder", 6000, 2), ("encoder", 4000, 16)):
        stage = stages.add_parser(name)
        stage.add_argument("--steps", type=int, default=steps)
        stage.add_argument("--batch", type=int, default=batch)
    stage = stages.add_parser("ceiling")
    stage.add_argument("--real", type=Path, required=True, help="where the packages with real music are unpacked")
    stage.add_argument("--excerpts", type=int, default=2, help="for each composer")
    stage = stages.add_parser("clips")
    stage.add_argument("--first", type=int, default=40, help="first song; those before are for validation")
    stage.add_argument("--songs", type=int, default=1200)
    stage = stages.add_parser("model")
    stage.add_argument("--steps", type=int, default=6000)
    stage.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    stage.add_argument("--real", type=Path, help="where the packages with real music are unpacked, for the reports")
    stage.add_argument("--start", type=Path, help="the first edition's checkpoint; default: random weights")
    stage = stages.add_parser("pieces")
    stage.add_argument("--first", type=int, default=1240, help="first song; those before are for validation")
    stage.add_argument("--songs", type=int, default=1200)
    stage = stages.add_parser("parts")
    stage.add_argument("--token-steps", type=int, default=3000)
    stage.add_argument("--timbre-steps", type=int, default=600)
    stage = stages.add_parser("tasks")
    stage.add_argument("--steps", type=int, default=6000)
    stage.add_argument("--rate", type=float, default=8e-4, help="peak learning rate")
    stage.add_argument("--real", type=Path, help="as for `model`")
    stages.add_parser("pack").add_argument("--to", type=Path, required=True)
    stage = stages.add_parser("heard")
    stage.add_argument("--checkpoint", type=Path, required=True)
    stage.add_argument("--seeds", type=int, default=8, help="for each of two prompts a kind")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*weight_norm.*")
    run(options)


def run(options: argparse.Namespace) -> None:
    """Run one stage. Each imports only the packages that it needs."""
    runs: Path = options.runs
    runs.mkdir(parents=True, exist_ok=True)
    import torch

    torch.set_num_threads(options.threads)
    if options.stage == "latents":
        from .codec.analysis import fit_from_shards

        fit_from_shards(runs / "music").save(runs / "latents.safetensors")
    elif options.stage == "decoder":
        from .codec.decoder_training import DecoderTraining

        DecoderTraining(runs, options.steps, options.batch).run()
    elif options.stage == "encoder":
        from .codec.encoder_training import EncoderTraining

        EncoderTraining(runs, options.steps, options.batch).run()
    elif options.stage == "ceiling":
        from .ceiling import print_ceiling

        print_ceiling(runs, options.real, options.excerpts)
    elif options.stage == "clips":
        from .model.clips import encode_corpus, encode_songs

        encode_corpus(runs)
        encode_songs(runs, options.first, options.songs)
    elif options.stage == "model":
        from .model.training import train_model

        train_model(runs, options.steps, options.rate, options.real, options.start)
    elif options.stage == "pieces":
        from .model.tasks import encode_pieces

        encode_pieces(runs, options.first, options.songs)
    elif options.stage == "parts":
        from .model.tasks import train_parts

        train_parts(runs, options.token_steps, options.timbre_steps)
    elif options.stage == "tasks":
        from .model.tasks import train_all_tasks

        train_all_tasks(runs, options.steps, options.rate, options.real)
    elif options.stage == "pack":
        from .model.tasks import pack

        pack(runs, options.to)
    elif options.stage == "heard":
        from .heard_prompts import print_heard

        print_heard(runs, options.checkpoint, options.seeds)


if __name__ == "__main__":
    main()
