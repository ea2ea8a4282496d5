"""Checks of ACE-Step's codec, and of the longest track."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderOobleck

from models.ace_step.codec import decode
from models.ace_step.layout import locate
from models.base import run_to_end
from verification.check import Bound, Check, Measured
from verification.latents import row
from verification.measure import difference, median_seconds, peak_bytes, reset_peak, seconds_of
from verification.subject import Subject

_GIB = 2**30


def _latents(subject: Subject) -> torch.Tensor:
    vae, seconds = subject.ace_step.pipeline.vae, subject.lengths.decoded
    frames = round(seconds * vae.config.sampling_rate / vae.hop_length)
    shape = (1, frames, vae.config.decoder_input_channels)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(subject.device, subject.dtype)


def _stock(subject: Subject) -> AutoencoderOobleck:
    vae = AutoencoderOobleck.from_pretrained(str(locate(subject.checkpoint).vae), dtype=subject.dtype)
    return vae.to(subject.device).eval().requires_grad_(False)


@torch.inference_mode()
def audio_differs(subject: Subject) -> float:
    """The difference between audio that is decoded in pieces, and by diffusers in one."""
    latents = _latents(subject)
    whole = _stock(subject).decode(latents.transpose(1, 2)).sample[0]
    return difference(run_to_end(decode(subject.ace_step.pipeline.vae, latents)), whole)


@torch.inference_mode()
def decoding_ratio(subject: Subject) -> Measured:
    """The time of decoding, relative to diffusers'."""
    latents, stock, vae = _latents(subject), _stock(subject), subject.ace_step.pipeline.vae
    taken = median_seconds(
        {
            "ours": lambda: run_to_end(decode(vae, latents)),
            "stock": lambda: stock.decode(latents.transpose(1, 2)).sample,
        },
        subject.device,
    )
    return Measured(taken["ours"] / taken["stock"], f"{subject.lengths.decoded:g} s of audio in {taken['ours']:.2f} s")


def longest_track(subject: Subject) -> Measured:
    """The time of a long track, relative to its length."""
    seconds = subject.lengths.track
    reset_peak(subject.device)
    tracks: list[object] = []
    took = seconds_of(lambda: tracks.extend(subject.ace_step.generate([row(seconds)])), subject.device)
    [track] = tracks
    if not isinstance(track, np.ndarray):
        raise RuntimeError(f"{seconds:g} s: {track!r}")
    peak = peak_bytes(subject.device) or 0
    return Measured(took / seconds, f"{seconds:g} s of audio in {took:.1f} s, peak {peak / _GIB:.2f} GiB")


CHECKS: Sequence[Check] = (
    Check(
        "audio decoded in pieces, difference from diffusers' / deviation",
        audio_differs,
        "The device computes some convolution wrongly: use DTYPE=float32",
        Bound(high=0.03),
    ),
    Check(
        "time of decoding / diffusers'",
        decoding_ratio,
        "Send the JSON file to the maintainers",
        Bound(high=0.9),
        needs_size=True,
    ),
    Check(
        "time of the longest track / its length",
        longest_track,
        "Set MAX_DURATION_SECONDS to a length that this machine can generate",
        Bound(high=1),
        needs_gpu=True,
    ),
)
