"""Checks of training ACE-Step: resuming, the precision of gradients, memory, and training beside serving."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import torch

from core.settings import ROOT
from models.ace_step import AceStep
from models.base import Text
from training.ace_step import TARGETS, AceStepTrainer
from training.base import Example, Recipe
from training.loop import generator_of, session
from verification.check import Bound, Check, Measured, Skipped
from verification.latents import row, sampled
from verification.measure import difference, peak_bytes, reset_peak, seconds_of
from verification.subject import Subject

_GIB = 2**30
_EXAMPLES = 4
_TEXTS = ("808 trap beat", "dark synth", "slow piano", "fast drums")
# Checks that hold a second model are left out on a CPU whose memory they might fill.
_MAX_BYTES_ON_CPU = 2 * _GIB


def recipe(steps: int, batch: int) -> Recipe:
    return Recipe(steps=steps, batch=batch, rank=16, alpha=32, targets=TARGETS, learning_rate=1e-4, warmup=2)


def examples(model: AceStep, seconds: float) -> list[Example]:
    """Examples of noise, encoded as music would be."""
    trainer, made = AceStepTrainer(model), []
    for seed in range(_EXAMPLES):
        rng = np.random.default_rng(seed)
        audio = rng.standard_normal((model.channels, round(seconds * model.sample_rate)), dtype=np.float32)
        made.append(trainer.example(0.1 * audio, Text(_TEXTS[seed])))
    return made


def peak_of_training(subject: Subject) -> Measured:
    """The peak memory of two training steps, relative to the weights. On a CPU that of the process."""
    model, lengths = subject.ace_step, subject.lengths
    music, trainer = examples(model, lengths.clip), AceStepTrainer(model)
    reset_peak(subject.device)
    with session(trainer, model.adapted, recipe(2, lengths.batch)) as running:
        began = running.advance(music)
        running.advance(music)
    peak = peak_bytes(subject.device)
    if peak is None:
        raise Skipped("the system does not tell the peak")
    note = f"{peak / _GIB:.2f} GiB, {lengths.batch} × {lengths.clip:g} s, loss {began:.3g}"
    return Measured(peak / subject.checkpoint_bytes, note)


def resumed_differs(subject: Subject) -> Measured:
    """The difference between an adapter that was trained at once, and one whose training was resumed."""
    model, lengths = subject.ace_step, subject.lengths
    how, music, trainer = recipe(lengths.training, lengths.batch), examples(model, lengths.clip), AceStepTrainer(model)
    losses, half = [], {}
    with session(trainer, model.adapted, how) as running:
        while running.step < how.steps:
            if running.step == how.steps // 2:
                half = copy.deepcopy(running.state())
            losses.append(running.advance(music))
        whole = running.pairs()
    with session(trainer, model.adapted, how) as running:
        running.restore(half)
        while running.step < how.steps:
            running.advance(music)
        resumed = running.pairs()
    one, other = (torch.cat([pair.b.flatten() for pair in pairs.values()]) for pairs in (resumed, whole))
    return Measured(difference(one, other), f"{how.steps} steps, loss {losses[0]:.3g} to {losses[-1]:.3g}")


def gradient_agreement(subject: Subject) -> Measured:
    """The cosine between the adapter's gradients in half and in single precision."""
    model = subject.ace_step
    _check_room(subject)
    music = examples(model, subject.lengths.clip)
    pipeline, whole = model.pipeline, model.pipeline.transformer
    other = torch.bfloat16 if model.dtype == torch.float32 else torch.float32
    gradients = {model.dtype: _gradients(model, music)}
    try:
        pipeline.transformer = copy.deepcopy(whole).to(other)
        gradients[other] = _gradients(model, music)
    finally:
        pipeline.transformer = whole
    half, exact = gradients[torch.bfloat16], gradients[torch.float32]
    cosine = torch.nn.functional.cosine_similarity(half, exact, dim=0)
    return Measured(float(cosine), f"norms {half.norm():.3g} and {exact.norm():.3g}")


def _gradients(model: AceStep, music: Sequence[Example]) -> torch.Tensor:
    with session(AceStepTrainer(model), model.adapted, recipe(1, 1)) as running:
        # Without the loop's autocast, which would compute the single precision in half.
        example = music[0] | {"condition": music[0]["condition"].to(model.dtype)}
        losses = AceStepTrainer(model).losses([example], [generator_of("gradient")])
        losses.sum().backward()
        grads = [each.grad for each in running.parameters]
        return torch.cat([grad.double().flatten() for grad in grads if grad is not None])


def slowdown_by_training(subject: Subject) -> Measured:
    """The time of a track while another process trains on the same device, relative to that without."""
    _check_room(subject)
    model, request = subject.ace_step, row(subject.lengths.row)
    sampled(model, request)
    alone = seconds_of(lambda: sampled(model, request), subject.device)
    checkpoint = subject.checkpoint
    command = [sys.executable, "-m", "verification.trainee", str(checkpoint.folder), checkpoint.name, checkpoint.sha256]
    command += [str(subject.device), str(subject.dtype).removeprefix("torch.")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdin and process.stdout
    try:
        if not process.stdout.readline():
            raise RuntimeError("the training process ended at its start; its error is above")
        beside = seconds_of(lambda: sampled(model, request), subject.device)
        process.stdin.close()
        steps = process.stdout.readline().strip()
        if process.wait() or not steps:
            raise RuntimeError("the training process failed; its error is above")
    finally:
        process.kill()
        process.wait()
    return Measured(beside / alone, f"{alone:.2f} s alone, {beside:.2f} s beside {steps} training steps")


def _check_room(subject: Subject) -> None:
    if subject.device.type == "cpu" and subject.checkpoint_bytes > _MAX_BYTES_ON_CPU:
        raise Skipped("it takes the memory of a second model")


CHECKS: Sequence[Check] = (
    Check(
        "peak memory of training / weights",
        peak_of_training,
        "Set QUANTIZATION=int8; training halves its batches by itself where memory runs out",
        Bound(high=4),
        needs_size=True,
    ),
    Check(
        "training resumed at its half, difference from uninterrupted / deviation",
        resumed_differs,
        "Training is not reproducible here; its twins are valid, but a resumed job ends elsewhere",
        Bound(high=0.01),
    ),
    Check(
        "cosine of gradients, bfloat16 with float32",
        gradient_agreement,
        "Train with DTYPE=float32",
        Bound(low=0.99),
    ),
    Check(
        "time of a track while training / alone",
        slowdown_by_training,
        "Set TRAIN_DEVICE to another GPU, or TRAIN_GPU_BYTES if memory ran out",
        Bound(high=4),
        needs_size=True,
    ),
)
