"""Teach the starter a style that it never saw, by a LoRA of 16 clips, and measure how far it comes.

The distance between two sets of pieces is taken between their mean timbres, in deviations of the training mix. What
can be reached is the distance of other songs of that style after the codec; the share closed is of the way there.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import librosa
import numpy as np
import torch
from diffusers import AceStepPipeline
from peft import LoraConfig

from ..synthesiser import UNSEEN_STYLES, Song, caption, metadata, sample_song
from . import measures
from .architecture import HOP, SAMPLE_RATE
from .codec import reconstruct
from .data import EVALUATION, audio_of, song_number
from .latents import encode
from .sampling import generate, load

CLIPS, HELD_OUT, ASKED = 16, 8, 8
SECONDS = 10.0
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


def adapt(folder: Path, styles: tuple[str, ...], budget: float, rate: float, rank: int, device: str) -> None:
    """Print, for each style, the distances before and after `budget` seconds of training."""
    for style in styles or UNSEEN_STYLES:
        print(style, json.dumps(_adapt(folder, style, budget, rate, rank, device)), flush=True)


def _adapt(folder: Path, style: str, budget: float, rate: float, rank: int, device: str) -> dict[str, float]:
    pipeline = load(folder, device)
    rng = np.random.default_rng([EVALUATION, UNSEEN_STYLES.index(style)])
    songs = [sample_song(rng, style) for _ in range(CLIPS + HELD_OUT)]
    samples = int(SECONDS * SAMPLE_RATE) // HOP * HOP
    audio = np.stack([audio_of(song, SECONDS)[:samples] for song in songs])
    mix = _timbres(np.stack([audio_of(song_number(EVALUATION, 300 + n), SECONDS) for n in range(48)]))
    target, scale = _timbres(audio[:CLIPS]).mean(0), mix.std(0) + 1e-3

    def distance(timbres: np.ndarray) -> float:
        return float(np.linalg.norm((timbres.mean(0) - target) / scale) / np.sqrt(len(target)))

    def asked(wanted: list[Song]) -> np.ndarray:
        words = np.random.default_rng(1)
        pieces = [
            generate(pipeline, caption(song, words), SECONDS, n, **metadata(song)) for n, song in enumerate(wanted)
        ]
        return _timbres(np.stack(pieces))

    reachable = distance(_timbres(reconstruct(pipeline.vae, audio[CLIPS:], device)))
    others = [sample_song(np.random.default_rng(n), "trap", drums=True) for n in range(ASKED)]
    before, other_before = distance(asked(songs[:ASKED])), distance(asked(others))
    steps = _train(pipeline, songs[:CLIPS], encode(pipeline.vae, audio[:CLIPS], device), budget, rate, rank)
    after, other_after = distance(asked(songs[:ASKED])), distance(asked(others))
    return {
        "reachable": round(reachable, 3),
        "before": round(before, 3),
        "after": round(after, 3),
        "share closed": round((before - after) / (before - reachable), 3),
        "another genre, before": round(other_before, 3),
        "another genre, after": round(other_after, 3),
        "another genre keeps": round(other_after / other_before, 3),
        "steps": steps,
    }


def _timbres(audio: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            measures.timbre(librosa.resample(a / np.abs(a).max(), orig_sr=SAMPLE_RATE, target_sr=measures.RATE))
            for a in audio
        ]
    )


def _train(
    pipeline: AceStepPipeline, songs: list[Song], latents: torch.Tensor, budget: float, rate: float, rank: int
) -> int:
    """Steps of flow matching on the adapter alone, within `budget` seconds; returns how many."""
    transformer, device = pipeline.transformer, pipeline.device
    transformer.requires_grad_(False)
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS))
    parameters = [p for p in transformer.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    words = np.random.default_rng(2)
    conditions = [_conditions(pipeline, song, caption(song, words)) for song in songs]
    clock = pipeline.condition_encoder.silence_latent[:, : latents.shape[1]]
    context = torch.cat([clock, torch.ones_like(clock)], -1)
    null = pipeline.condition_encoder.null_condition_emb
    generator = torch.Generator().manual_seed(0)
    started, steps = time.monotonic(), 0
    while (spent := (time.monotonic() - started) / budget) < 1:
        optimizer.param_groups[0]["lr"] = rate * min(1, (steps + 1) / 10) * min(1.0, max(0.05, 2 - 2 * spent))
        loss = torch.zeros((), device=device)
        for index in torch.randint(len(songs), (4,), generator=generator).tolist():
            clean = latents[index : index + 1].float().to(device)
            noise = torch.randn(clean.shape, generator=generator).to(device)
            share = torch.rand(1, generator=generator).clamp(0.01, 0.99).to(device)
            asked = conditions[index]
            if torch.rand(1, generator=generator) < 0.1:
                asked = null.expand_as(asked)
            with torch.autocast(device.type, torch.bfloat16):
                velocity = transformer(
                    hidden_states=(1 - share) * clean + share * noise,
                    timestep=share,
                    timestep_r=share,
                    encoder_hidden_states=asked,
                    context_latents=context,
                    return_dict=False,
                )[0]
            loss = loss + (velocity.float() - (noise - clean)).square().mean() / 4
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
    return steps


@torch.no_grad()
def _conditions(pipeline: AceStepPipeline, song: Song, words: str) -> torch.Tensor:
    """The stock pipeline's own conditions for a prompt, `[1, L, D]`."""
    text, text_mask, lyrics, lyrics_mask = pipeline.encode_prompt(
        words, "[Instrumental]", pipeline.device, audio_duration=SECONDS, **metadata(song)
    )
    encoder = pipeline.condition_encoder
    reference = encoder.silence_latent[:, : int(30 * pipeline.latents_per_second)]
    order = torch.zeros(1, dtype=torch.long, device=pipeline.device)
    return encoder(text, text_mask, lyrics, lyrics_mask, reference, order)[0]
