"""Checks of MusicGen against transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch

from contract import SamplingOptions
from models.base import Row, Text, run_to_end
from models.musicgen import MusicGen
from models.musicgen.pattern import delay, delays
from verification.check import Bound, Check, Measured
from verification.measure import median_seconds, seconds_of
from verification.subject import Subject

_PROMPT = "808 trap beat, dark synth"
_GUIDANCE = 3.0


def loading_seconds(subject: Subject) -> float:
    return seconds_of(lambda: subject.musicgen, subject.device)


@torch.inference_mode()
def tokens_agree(subject: Subject) -> Measured:
    """The share of positions at which the likeliest code is the one that transformers' `generate` took.

    Each position is read after transformers' codes, so that one other choice does not change all later ones.
    """
    model, frames = subject.musicgen, subject.lengths.tokens
    codes = _greedy(model, frames)[0]
    config = model.model.decoder.config
    expected = delay(codes, delays(config.num_codebooks, config.audio_channels), config.vocab_size)
    run = model.begin(_row(model, codes.shape[-1], temperature=0.0))
    run.positions.copy_(expected)
    batch = model.batch([run])
    agreed = total = 0
    while run.steps_left:
        wanted = expected[:, run.next]
        run_to_end(batch.step())
        written = wanted != config.vocab_size
        agreed += int((batch.logits[0].argmax(-1) == wanted)[written].sum())
        total += int(written.sum())
    return Measured(agreed / total, f"{agreed} of {total}")


def token_ratio(subject: Subject) -> Measured:
    """The time of a token, relative to transformers'."""
    model, frames = subject.musicgen, subject.lengths.tokens

    def ours() -> None:
        run = model.begin(_row(model, frames))
        batch = model.batch([run])
        while run.steps_left:
            run_to_end(batch.step())

    taken = median_seconds({"ours": ours, "stock": lambda: _greedy(model, frames)}, subject.device)
    return Measured(taken["ours"] / taken["stock"], f"{1000 * taken['ours'] / frames:.1f} ms a token")


def track_is_finite(subject: Subject) -> float:
    """The peak of a track, which is normalised to -1 dBFS."""
    [track] = subject.musicgen.generate([_row(subject.musicgen, subject.lengths.tokens)])
    if isinstance(track, Exception):
        raise track
    return float(abs(track).max())


def _row(model: MusicGen, frames: int, temperature: float = 1.0) -> Row:
    options = SamplingOptions(seed=1, guidance=_GUIDANCE, temperature=temperature)
    return Row(Text(_PROMPT), (frames - 0.5) / model.frame_rate, options)


def _greedy(model: MusicGen, frames: int) -> torch.Tensor:
    """The codes `[1, K, T]` of transformers' greedy decoding."""
    inputs = model.tokenizer([_PROMPT], return_tensors="pt").to(model.device)
    longest = frames + max(delays(model.model.decoder.config.num_codebooks, model.channels))
    with _without_codec(model) as decoded:
        model.model.generate(**inputs, do_sample=False, guidance_scale=_GUIDANCE, max_new_tokens=longest)
    return decoded[0]


@contextmanager
def _without_codec(model: MusicGen) -> Iterator[list[torch.Tensor]]:
    """Within the block `generate` appends its codes to the list instead of decoding them."""
    codec: Any = model.model.audio_encoder
    decoded: list[torch.Tensor] = []

    def keep(audio_codes: torch.Tensor, *_: Any, **__: Any) -> SimpleNamespace:
        decoded.append(audio_codes[0])
        return SimpleNamespace(audio_values=torch.zeros(1, 1, 1))

    codec.decode = keep
    try:
        yield decoded
    finally:
        del codec.decode


CHECKS: Sequence[Check] = (
    Check("seconds until MusicGen is loaded", loading_seconds, "Use a faster disk", Bound(high=120)),
    Check(
        "share of greedy tokens as transformers takes them",
        tokens_agree,
        "Check the version of transformers against requirements/constraints.txt",
        Bound(low=0.99),
    ),
    Check(
        "time of a token / transformers'",
        token_ratio,
        "Send the JSON file to the maintainers; COMPILE=on may help meanwhile",
        Bound(high=0.9),
        needs_size=True,
    ),
    Check("peak of a track", track_is_finite, "The checkpoint's codec is damaged", Bound(low=1e-3, high=1)),
)
