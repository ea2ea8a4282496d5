"""Checks of loading: how long it takes, how much memory, and the latent of silence."""

from __future__ import annotations

from collections.abc import Sequence

from contract import SamplingOptions
from models.base import Row, Text
from verification.check import Bound, Check, Measured, Skipped
from verification.measure import peak_bytes, reset_peak, seconds_of
from verification.subject import Subject

_GIB = 2**30
# A first step and a decoding beside the weights.
_MAX_LOADING_RATIO, _MAX_SERVING_RATIO = 1.15, 1.6


def loading_seconds(subject: Subject) -> float:
    """The time until the checkpoint is on the device; an authors' layout is converted meanwhile."""
    return seconds_of(lambda: subject.ace_step, subject.device)


def deviation_of_silence(subject: Subject) -> float:
    return float(subject.ace_step.pipeline.condition_encoder.silence_latent.float().std())


def peak_of_loading(subject: Subject) -> float:
    """The peak GPU memory of loading, relative to the weights."""
    subject.reload()
    reset_peak(subject.device)
    model = subject.ace_step
    peak = peak_bytes(subject.device)
    assert peak is not None and model
    return peak / subject.checkpoint_bytes


def peak_of_serving(subject: Subject) -> Measured:
    """The peak memory of loading and of a track, relative to the weights. On a CPU that of the process."""
    subject.reload()
    reset_peak(subject.device)
    model = subject.ace_step
    row = Row(Text("beat"), subject.lengths.decoded, SamplingOptions(seed=1, steps=2))
    [track] = model.generate([row])
    if isinstance(track, Exception):
        raise track
    peak = peak_bytes(subject.device)
    if peak is None:
        raise Skipped("the system does not tell the peak")
    return Measured(
        peak / subject.checkpoint_bytes, f"{peak / _GIB:.2f} GiB, weights {subject.checkpoint_bytes / _GIB:.2f} GiB"
    )


CHECKS: Sequence[Check] = (
    Check(
        "seconds until the checkpoint is loaded",
        loading_seconds,
        "Use a faster disk, or wait for the conversion, which is done once",
        Bound(high=180),
    ),
    Check(
        "deviation of silence_latent",
        deviation_of_silence,
        "Without it the music is wrong: download the checkpoint again, or convert it again",
        Bound(low=1e-3),
    ),
    Check(
        "peak GPU memory of loading / weights",
        peak_of_loading,
        "Something is loaded twice; check the version of diffusers",
        Bound(high=_MAX_LOADING_RATIO),
        needs_gpu=True,
        needs_size=True,
    ),
    Check(
        "peak memory of loading and a track / weights",
        peak_of_serving,
        "Set OFFLOAD=on or QUANTIZATION=int8",
        Bound(high=_MAX_SERVING_RATIO),
        needs_size=True,
    ),
)
