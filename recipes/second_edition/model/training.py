"""Train the transformer with its text encoder on songs on the clock and on the corpus, by flow matching."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedTokenizerFast

from recipes.first_edition.ace_step.model import (
    DRUMLESS_SHARE,
    LONG_SHARE,
    LOOP_LENGTHS,
    PROMPT_DROPOUT,
    RHYTHM_SHARE,
    SECONDS_PER_STEP,
    Starter,
    cut,
    draw_lyrics,
    draw_times,
)
from recipes.first_edition.ace_step.prompts import song_prompt, template_parts
from recipes.first_edition.clips import LONG_SECONDS, LOOP_SECONDS, Clip, Library, draw, for_training, load_clip
from recipes.first_edition.data import TRAINING
from recipes.first_edition.precision import autocast
from recipes.first_edition.prompts import learned_tokenizer
from recipes.first_edition.training import Training
from recipes.music.captions import clip_text
from recipes.music.corpus import Shards

from ..codec.analysis import load_analysis
from .clips import SHAPE, SONGS, CorpusClip, Equaliser, load_corpus, with_noise
from .inheritance import inherit
from .predictability import Probe

SONG_SHARE = 0.5
"""Share of loops that are songs on the clock; the others are clips of the corpus."""
EQUALISED = 0.7
"""Share of the corpus's clips with another equaliser's curve."""
CAPTIONS = 6000
VOCABULARY = 1600
REFRESH_EVERY = 100
REPORT_EVERY = 50
VALIDATE_EVERY = 500
STATE = "model.pt"


def build_tokenizer(runs: Path) -> PreTrainedTokenizerFast:
    """A tokenizer that knows the words of the corpus's captions too; kept in `runs/tokenizer`."""
    folder = runs / "tokenizer"
    if not folder.exists():
        rng = np.random.default_rng(6)
        records = [record for _, rows in Shards(runs / "music") for record in rows]
        captions = [clip_text(records[n % len(records)], rng).prompt for n in range(CAPTIONS)]
        learned_tokenizer(template_parts(), VOCABULARY, captions).save_pretrained(folder)
    loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)  # nosec B615 - a folder, never the hub
    return loaded


def train_model(runs: Path, steps: int, rate: float, real: Path | None, first_edition: Path | None = None) -> None:
    """Train to `steps` steps in total; resumes from `runs/model.pt`.

    Args:
        first_edition: the checkpoint to start from; default: random weights.
        real: where packages with real music are unpacked, for the reports only.
    """
    torch.manual_seed(0)
    starter = Starter(build_tokenizer(runs), shape=SHAPE).train()
    if first_edition and not (runs / STATE).exists():
        inherit(starter, first_edition)
    training = Training(starter, runs / STATE, rate, steps)
    library = Library(runs / SONGS, load_clip)
    corpus, held = load_corpus(runs)
    equaliser = Equaliser(load_analysis(runs / "latents.safetensors"))
    probe = Probe(runs, library, held, real)
    losses: dict[str, float] = {}
    started = time.process_time()
    for step in range(training.first, steps):
        rng = np.random.default_rng([TRAINING, 20, step])
        torch.manual_seed(step)
        rhythm = bool(rng.random() < RHYTHM_SHARE)
        texts, latents, songs = draw_batch(library, corpus, equaliser, rng)
        times = draw_times(len(texts), rhythm)
        dropped = (torch.rand(len(texts)) < PROMPT_DROPOUT).view(-1, 1, 1)
        with sdpa_kernel(SDPBackend.MATH), autocast("cpu"):
            conditions = starter.conditions(texts, draw_lyrics(rng))
            conditions = torch.where(dropped, starter.condition_encoder.null_condition_emb, conditions)
            loss = starter.loss(latents, torch.randn_like(latents), times, conditions, levels_only=rhythm)
        training.step(step, loss.mean())

        if not rhythm:
            for name, part in (("songs", loss[:songs]), ("corpus", loss[songs:])):
                if len(part):
                    value = float(part.detach().mean())
                    losses[name] = 0.98 * losses.get(name, value) + 0.02 * value
        if step % REPORT_EVERY == REPORT_EVERY - 1:
            spent = (time.process_time() - started) / (step + 1 - training.first)
            line = {"step": step + 1, "cpu": round(spent, 2), "songs encoded": len(library.clips)}
            print(json.dumps({**line, **{name: round(value, 3) for name, value in losses.items()}}), flush=True)
        if step % REFRESH_EVERY == REFRESH_EVERY - 1:
            library.refresh()
        if step % VALIDATE_EVERY == VALIDATE_EVERY - 1 or step + 1 == steps:
            with training:
                print(json.dumps({"step": step + 1, **probe(starter)}), flush=True)


def draw_batch(
    library: Library[Clip], corpus: list[CorpusClip], equaliser: Equaliser, rng: np.random.Generator
) -> tuple[list[str], torch.Tensor, int]:
    """Prompts, latents `[B, T, LATENT]` of one length, and how many rows are songs; these come first."""
    long = rng.random() < LONG_SHARE
    seconds = float(rng.choice(LONG_SECONDS if long else LOOP_LENGTHS))
    count = max(1, round(SECONDS_PER_STEP / seconds))
    songs = count if long else int((rng.random(count) < SONG_SHARE).sum())
    stock = for_training(library, seconds if long else LOOP_SECONDS)
    length = SHAPE.frames(seconds)
    clips = draw(stock, songs, DRUMLESS_SHARE, rng)
    texts = [song_prompt(clip.song, seconds, rng) for clip in clips]
    latents = [cut(clip, length, rng, SHAPE.frames).float() for clip in clips]
    for _ in range(count - songs):
        clip = corpus[rng.integers(len(corpus))]
        texts.append(clip.prompt(seconds, rng))
        frames = clip.cut(length, rng)
        latents.append(frames + equaliser.draw(rng) if rng.random() < EQUALISED else frames)
    return texts, with_noise(torch.stack(latents)), songs
