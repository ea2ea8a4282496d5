"""Checks of ACE-Step's denoising against diffusers: the latents, and the time of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.utils._triton import has_triton

from contract import SamplingOptions
from models.ace_step import AceStep, conditions
from models.base import Row, Text, run_to_end
from verification.check import Bound, Check, Skipped
from verification.measure import difference, median_seconds
from verification.subject import FULL, Subject

_STEPS, _SHIFT, _SEED = 8, 3.0, 7
_TEXT = Text("808 trap beat, dark synth", bpm=140, key="A minor")
_TIME = 0.5


def row(seconds: float, seed: int = _SEED, steps: int = _STEPS) -> Row:
    """A row without guidance, as turbo checkpoints are sampled."""
    return Row(_TEXT, seconds, SamplingOptions(seed=seed, steps=steps, shift=_SHIFT, guidance=1.0))


def sampled(model: AceStep, *rows: Row) -> list[torch.Tensor]:
    """The latents of rows that are denoised together."""
    runs = [model.begin(each) for each in rows]
    batch = model.batch(runs)
    while runs[0].steps_left:
        run_to_end(batch.step())
    return [run.latents for run in runs]


def latents_differ(subject: Subject) -> float:
    """The difference of the latents from those of diffusers' pipeline with the same noise."""
    model, seconds = subject.ace_step, subject.lengths.row
    run = model.begin(row(seconds))
    noise = run.latents.clone()
    [ours] = sampled(model, row(seconds))
    theirs = subject.stock(
        prompt=_TEXT.prompt,
        lyrics=conditions.INSTRUMENTAL,
        bpm=_TEXT.bpm,
        keyscale=_TEXT.key,
        audio_duration=seconds,
        num_inference_steps=_STEPS,
        shift=_SHIFT,
        guidance_scale=1.0,
        latents=noise,
        output_type="latent",
    ).audios
    return difference(ours, theirs.view_as(ours))


@torch.inference_mode()
def step_ratio(subject: Subject, seconds: float) -> float:
    """The time of a step, relative to diffusers' transformer."""
    taken = median_seconds(
        {"ours": _step(subject.ace_step, seconds), "stock": _stock(subject, seconds)}, subject.device
    )
    return taken["ours"] / taken["stock"]


@torch.inference_mode()
def compiled_ratio(subject: Subject) -> float:
    """The time of a compiled step, relative to diffusers' transformer."""
    if not has_triton():
        raise Skipped("no Triton")
    compiled = AceStep(subject.ace_step.pipeline, subject.ace_step.defaults)
    compiled.compile()
    seconds = subject.lengths.steps[0]
    taken = median_seconds({"ours": _step(compiled, seconds), "stock": _stock(subject, seconds)}, subject.device)
    return taken["ours"] / taken["stock"]


def _step(model: AceStep, seconds: float) -> Callable[[], object]:
    run = model.begin(row(seconds))
    pack = model.batch([run]).pack
    times = torch.full((1,), _TIME, device=model.device)
    return lambda: pack.velocities([run.latents], times)


def _stock(subject: Subject, seconds: float) -> Callable[[], object]:
    pipeline = subject.ace_step.pipeline
    run = subject.ace_step.begin(row(seconds))
    condition = conditions.encode(pipeline, _TEXT, seconds)
    context = conditions.context(pipeline, run.latents.shape[1])
    t = torch.full((1,), _TIME, device=subject.device, dtype=subject.dtype)
    return lambda: subject.stock.transformer(
        hidden_states=run.latents,
        timestep=t,
        timestep_r=t,
        encoder_hidden_states=condition,
        context_latents=context,
        return_dict=False,
    )


def _step_check(seconds: float) -> Check:
    def measure(subject: Subject, seconds: float) -> float:
        if seconds not in subject.lengths.steps:
            raise Skipped("too long without a GPU")
        return step_ratio(subject, seconds)

    return Check(
        f"time of a step at {seconds:g} s / diffusers'",
        partial(measure, seconds=seconds),
        "Send the JSON file to the maintainers; COMPILE=on may help meanwhile",
        Bound(high=1.05),
        needs_size=True,
    )


CHECKS: Sequence[Check] = (
    Check(
        "latents of 8 steps, difference from diffusers' / deviation",
        latents_differ,
        "Compare DTYPE=float32; if that agrees, the device's bfloat16 is at fault, else the version of diffusers",
        Bound(high=0.02),
    ),
    *(_step_check(seconds) for seconds in FULL.steps),
    Check(
        "time of a compiled step at 10 s / diffusers'",
        compiled_ratio,
        "Set COMPILE=off, and send the JSON file to the maintainers",
        Bound(high=0.7),
        needs_gpu=True,
        needs_size=True,
    ),
)
