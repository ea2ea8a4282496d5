"""A training step, against the same step without cached encodings, and against the step of ACE-Step's own trainer.

    python -m benchmarks.training                      # ACE-Step
    python -m benchmarks.training --backend musicgen --wide

All train the same adapter layers of the same weights on the same clips of 15 s, in batches of 4, with AdamW. `ours` is
the service's trainer. `cached` uses precomputed encodings, and passes one example at a time through the stock model, as
ACE-Step's own trainer does by default. `stacked` is the same in one pass of four padded examples. `unprepared` also
encodes audio and text in each step. The stock model has its default attention. CPU time of the process, alternating.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks import models
from benchmarks.measure import interleaved, ratio
from core.settings import settings
from models.ace_step import conditions
from models.base import Text
from models.checkpoints import Checkpoint, resolve
from recipes.synthesiser import Song, render, sample_song, text
from runners import TABLE
from training.loop import Session, session
from training.musicgen import ATTENTION

_CLIPS, _SECONDS, _BATCH = 8, 15.0, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="ace_step", choices=["ace_step", "musicgen"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="steps a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--wide", action="store_true", help="random weights of the real models' width, in four layers")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    checkpoint, model, trainer = loaded(options.backend)
    name = checkpoint.folder.name
    if options.wide:
        model = {"ace_step": models.ace_step, "musicgen": models.musicgen}[options.backend]()
        trainer, name = type(trainer)(model), f"width {models.HIDDEN}, {models.LAYERS} layers"
    songs = [np.random.default_rng(number) for number in range(_CLIPS)]
    clips = [clip_of(model, sample_song(rng), rng, _SECONDS) for rng in songs]
    examples = [trainer.example(audio, text) for audio, text in clips]
    loss = {"ace_step": _ace_step, "musicgen": _musicgen}[options.backend]
    with session(trainer, model.adapted, trainer.recipe(60)) as running:

        def repeat(step: Callable[[], object], attention: str = "sdpa") -> Callable[[], None]:
            def run() -> None:
                if options.backend == "musicgen":
                    model.adapted.set_attn_implementation(attention)
                for _ in range(options.steps):
                    step()

            return run

        stacked = _Plain(running, lambda picked: loss(model, [examples[i] for i in picked]))
        cached = _Plain(running, lambda picked: loss(model, [examples[i] for i in picked]), passes=_BATCH)
        unprepared = _Plain(running, lambda picked: loss(model, [trainer.example(*clips[i]) for i in picked]))
        taken = interleaved(
            {
                "ours": repeat(lambda: running.advance(examples), attention=ATTENTION),
                "cached": repeat(cached.step),
                "stacked": repeat(stacked.step),
                "unprepared": repeat(unprepared.step),
            },
            options.rounds,
        )
    print(f"{options.backend}, {name}, {options.threads} threads, batches of {_BATCH} × {_SECONDS} s")
    for way in ("cached", "stacked", "unprepared"):
        print(f"steps a second, ours over {way}: {ratio(taken, way, 'ours')}")
    print(f"a step of ours takes {1000 * np.median(taken['ours']) / options.steps:.0f} ms of CPU time")


class _Plain:
    """A plain training loop on the session's adapter."""

    def __init__(self, running: Session, loss: Callable[[list[int]], torch.Tensor], passes: int = 1) -> None:
        self._accelerator, self._loss, self._passes = running.accelerator, loss, passes
        self._parameters = running.parameters
        self._optimiser = torch.optim.AdamW(self._parameters, lr=1e-4, weight_decay=0.01)

    def step(self) -> None:
        picked = torch.randint(_CLIPS, (_BATCH,)).tolist()
        for part in np.array_split(picked, self._passes):
            with self._accelerator.autocast():
                loss = self._loss(part.tolist()) / self._passes
            self._accelerator.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)


def loaded(name: str) -> tuple[Checkpoint, Any, Any]:
    """A backend's checkpoint by the settings, its model on the CPU, and its trainer."""
    backend = TABLE.choose(name, settings())
    checkpoint = resolve(backend.checkpoint_name(settings()), backend.name, backend.load_tiny())
    model = backend.load_model_class().load(checkpoint, torch.device("cpu"), torch.float32)
    return checkpoint, model, backend.load_trainer_class()(model)


def clip_of(model: Any, song: Song, rng: np.random.Generator, seconds: float) -> tuple[np.ndarray, Text]:
    """A song at the model's rate, `[channels, samples]`, and its text."""
    return np.ascontiguousarray(render(song, seconds, model.sample_rate, model.channels)), text(song, rng)


def _ace_step(model: Any, examples: list[dict[str, torch.Tensor]]) -> torch.Tensor:
    """Flow matching through diffusers' transformer."""
    pipeline = model.pipeline
    mean = torch.cat([example["mean"] for example in examples])
    x0 = mean + torch.cat([example["deviation"] for example in examples]) * torch.randn_like(mean)
    noise, t = torch.randn_like(x0), torch.rand(len(examples))
    condition = pad_sequence([example["condition"][0] for example in examples], batch_first=True)
    context = conditions.context(pipeline, x0.shape[1]).expand(len(examples), -1, -1)
    velocity = pipeline.transformer(
        hidden_states=t[:, None, None] * noise + (1 - t[:, None, None]) * x0,
        timestep=t,
        timestep_r=t,
        encoder_hidden_states=condition,
        context_latents=context,
        return_dict=False,
    )[0]
    return (velocity.float() - (noise - x0)).square().mean()


def _musicgen(model: Any, examples: list[dict[str, torch.Tensor]]) -> torch.Tensor:
    """transformers' own loss over its own delayed codes, of crops of 10 s as the trainer takes them."""
    frames = round(10.0 * model.frame_rate)
    codes = torch.stack([example["codes"][:, :frames].T for example in examples])
    texts = [example["text"] for example in examples]
    mask = pad_sequence([torch.ones(len(text), dtype=torch.long) for text in texts], batch_first=True)
    return model.model.decoder(
        labels=codes,
        encoder_hidden_states=pad_sequence(texts, batch_first=True),
        encoder_attention_mask=mask,
        use_cache=False,
    ).loss


if __name__ == "__main__":
    main()
