"""Audio tokens for covers: a tokenizer to 5 Hz, and a detokenizer to the outline that the transformer reads.

The original's detokenizer is trained with its transformer. Ours is trained alone, and before it, to give the outline of
`harmony.outline`: loudness in four bands and twelve pitch classes. Latents themselves would not do as its target: most
of them vary with the phase of each tone, which 24 bits for 0.2 s cannot hold.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.ace_step import AceStepAudioTokenDetokenizer, AceStepAudioTokenizer
from torch import nn

from ...clips import LOOP_SECONDS, VALIDATION_CLIPS, Library
from ...data import TRAINING
from ...precision import autocast
from ...training import Training, load_average
from ..architecture import SHAPE, LatentShape
from .harmony import PITCH_CLASSES, outline
from .pieces import Piece, load_piece

TOKENIZER, DETOKENIZER = "audio_tokenizer", "audio_token_detokenizer"
TOKEN_SECONDS = 0.2
"""5 tokens a second, like the original's."""
CODE_LEVELS = (8,) * 8
"""Levels of the finite scalar quantiser; 16,777,216 codes."""
HIDDEN = 128
LAYERS = 4
HARMONY_GAIN = 3.0
"""What the finished detokenizer's harmony is multiplied by: covers then follow it more closely."""
RATE = 2e-3
SECONDS_PER_STEP = 48.0
VALIDATE_EVERY = 250


class AudioTokens(nn.Module):
    """Tokenizer and detokenizer, as `AceStepPipeline` loads them.

    Args:
        shape: of the latents.
    """

    def __init__(self, shape: LatentShape = SHAPE) -> None:
        super().__init__()
        self.shape = shape
        shared = {
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "audio_acoustic_hidden_dim": shape.channels,
            "pool_window_size": self.token_frames,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": HIDDEN // 4,
            "rope_theta": 10_000.0,
        }
        self.tokenizer = AceStepAudioTokenizer(
            fsq_dim=HIDDEN,
            fsq_input_levels=list(CODE_LEVELS),
            num_attention_pooler_hidden_layers=LAYERS,
            **shared,
        )
        self.detokenizer = AceStepAudioTokenDetokenizer(num_attention_pooler_hidden_layers=LAYERS // 2, **shared)

    @property
    def token_frames(self) -> int:
        """Latent frames to a token."""
        return self.shape.frames(TOKEN_SECONDS)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """The outline `[B, T, channels]` of latents `[B, T, channels]` through the codes, with gradients."""
        patches = latents.unflatten(1, (-1, self.token_frames))
        pooled = self.tokenizer.attention_pooler(self.tokenizer.audio_acoustic_proj(patches))
        return self.detokenizer(self._quantise(pooled))

    def _quantise(self, pooled: torch.Tensor) -> torch.Tensor:
        """The tokenizer's quantiser with gradients straight through the rounding."""
        quantiser = self.tokenizer.quantizer
        levels = quantiser._levels.float()
        bound = 1 + 1 / (levels - 1)
        codes = bound * (quantiser.project_in(pooled).float() / bound).tanh()
        return quantiser.project_out(codes + (quantiser._quantize(codes) - codes).detach())


class OutlineReader:
    """The trained audio tokens, frozen, as the pipeline uses them.

    Args:
        runs: where `train_audio_tokens` wrote them.
    """

    def __init__(self, runs: Path) -> None:
        tokenizer = AceStepAudioTokenizer.from_pretrained(runs / TOKENIZER)
        detokenizer = AceStepAudioTokenDetokenizer.from_pretrained(runs / DETOKENIZER)
        self.tokenizer, self.detokenizer = (part.requires_grad_(False).eval() for part in (tokenizer, detokenizer))

    @classmethod
    def find(cls, runs: Path) -> OutlineReader | None:
        """None while the audio tokens are still to be trained."""
        return cls(runs) if (runs / DETOKENIZER).exists() else None

    @torch.no_grad()
    def __call__(self, latents: torch.Tensor, silence: torch.Tensor) -> torch.Tensor:
        """The context of a cover of latents `[T, channels]`, as the pipeline makes it, `[T, channels]`.

        Args:
            silence: latents of silence, `[1, length, channels]`, which fill the last token.
        """
        codes, _ = self.tokenizer.tokenize(latents[None], silence)
        return self.detokenizer(codes)[0, : len(latents)]


def train_audio_tokens(runs: Path, steps: int, device: str, shape: LatentShape = SHAPE) -> None:
    """Train to `steps` steps in total, then write both to `runs`; resumes from `runs/audio_tokens.pt`."""
    torch.manual_seed(0)
    tokens = AudioTokens(shape).to(device).train()
    training = Training(tokens, runs / "audio_tokens.pt", RATE, steps)
    library = Library(runs / "pieces", load_piece)
    for step in range(training.first, steps):
        rng = np.random.default_rng([TRAINING, 8, step])
        clips = library.clips[VALIDATION_CLIPS:]
        drawn = [clips[rng.integers(len(clips))] for _ in range(round(SECONDS_PER_STEP / LOOP_SECONDS))]
        latents, wanted = (part.to(device) for part in _batch(drawn, tokens, rng))
        with autocast(device):
            outlines = tokens(latents)
        training.step(step, (outlines.float() - wanted).square().mean())
        if step % VALIDATE_EVERY == VALIDATE_EVERY - 1 or step + 1 == steps:
            library.refresh()
            with training:
                print(json.dumps({"step": step + 1, **validation(tokens, library)}), flush=True)
    load_average(tokens, runs / "audio_tokens.pt")
    emphasise_harmony(tokens.detokenizer, shape)
    tokens.tokenizer.save_pretrained(runs / TOKENIZER)
    partial = runs / f"{DETOKENIZER}.partial"
    tokens.detokenizer.save_pretrained(partial)
    partial.rename(runs / DETOKENIZER)  # at once, as the training of the tasks looks for it


@torch.no_grad()
def emphasise_harmony(detokenizer: AceStepAudioTokenDetokenizer, shape: LatentShape) -> None:
    """Multiply what the detokenizer says of the pitch classes by `HARMONY_GAIN`."""
    pitches = slice(shape.levels, shape.levels + PITCH_CLASSES)
    detokenizer.proj_out.weight[pitches] *= HARMONY_GAIN
    detokenizer.proj_out.bias[pitches] *= HARMONY_GAIN


def _batch(
    clips: list[Piece], tokens: AudioTokens, rng: np.random.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and outlines `[B, T, channels]`, from a random frame of each piece on."""
    loop = tokens.shape.frames(LOOP_SECONDS)
    length = loop - tokens.token_frames
    latents, outlines = [], []
    for clip in clips:
        last = len(clip.frames) - loop
        start = int(rng.integers(last + 1)) if rng else 0
        shift = int(rng.integers(tokens.token_frames)) if rng else 0
        wanted = outline(clip.song, clip.frames, clip.seconds, tokens.shape)
        latents.append(clip.frames[start + shift : start + shift + length].float())
        outlines.append(wanted[start + shift : start + shift + length])
    return torch.stack(latents), torch.stack(outlines)


@torch.no_grad()
def validation(tokens: AudioTokens, library: Library[Piece]) -> dict[str, float]:
    """Share of the variance of loudness and of harmony that the outlines of the validation pieces explain."""
    clips = [clip for clip in library.clips[:VALIDATION_CLIPS] if clip.seconds == LOOP_SECONDS]
    latents, wanted = _batch(clips, tokens, None)
    error = (tokens(latents.to(next(tokens.parameters()).device)).cpu() - wanted).square().mean((0, 1))
    explained = 1 - error / wanted.flatten(0, 1).var(0)
    loudness, harmony = explained.split_with_sizes([tokens.shape.levels, len(explained) - tokens.shape.levels])
    return {
        "loudness": round(float(loudness.mean()), 3),
        "harmony": round(float(harmony[:PITCH_CLASSES].mean()), 3),
    }
