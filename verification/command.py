"""Verifies one checkpoint: builds or finds it, makes the checks, writes the results."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import diffusers
import transformers

from models.checkpoints import Checkpoint, resolve
from models.device import pick_device, pick_dtype
from models.tiny import ace_step as tiny_ace_step
from models.tiny import musicgen as tiny_musicgen
from verification import (
    batches,
    decoding,
    formats,
    latents,
    launches,
    loading,
    musicgen,
    page,
    random_checkpoints,
    sizes,
    step_costs,
    training,
)
from verification.check import Groups, run
from verification.subject import Subject

ACE_STEP: Groups = {
    "Formats": formats.CHECKS,
    "Loading": loading.CHECKS,
    "Denoising": latents.CHECKS,
    "Kernels": launches.CHECKS,
    "Batches": batches.CHECKS,
    "Decoding": decoding.CHECKS,
    "Training": training.CHECKS,
    "Scheduling": step_costs.CHECKS,
}
MUSICGEN: Groups = {
    "MusicGen": musicgen.CHECKS,
    "Kernels": launches.MUSICGEN_CHECKS,
    "Scheduling": step_costs.MUSICGEN_CHECKS,
}
# The checks of a checkpoint of 2B take less on a GPU.
MINUTES = 10.0
GROUPS = tuple(dict.fromkeys([*ACE_STEP, *MUSICGEN]))
_TINY = {"ace_step": tiny_ace_step.build, "musicgen": tiny_musicgen.build}


def verify(
    backend: str, name: str, device: str, dtype: str, seconds: float, out: Path, only: Sequence[str] | None = None
) -> int:
    """Verify a checkpoint, and write the results into the folder `out`. Returns the exit status.

    Args:
        backend: `ace_step` or `musicgen`, whose checkpoint is `name`; or `random`, where `name` is a size.
        device, dtype: as in the settings `DEVICE` and `DTYPE`.
        seconds: after which no further check begins.
        only: groups of checks; None for all.
    """
    began = time.monotonic()
    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.disable_progress_bar()
        library.set_verbosity_error()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix="work-") as folder:
        work = Path(folder)
        if backend == "random":
            # Its conversion is of no use afterwards.
            os.environ["XDG_CACHE_HOME"] = str(work / "cache")
            checkpoint = random_checkpoints.build(name, work / "checkpoint")
            is_musicgen = name in (*sizes.MUSICGEN, random_checkpoints.TINY_MUSICGEN)
        else:
            checkpoint, is_musicgen = resolve(name, backend, _TINY[backend]), backend == "musicgen"
        groups = {
            group: checks
            for group, checks in (MUSICGEN if is_musicgen else ACE_STEP).items()
            if only is None or group in only
        }
        return _verify(checkpoint, groups, device, dtype, seconds, began, work, out)


def _verify(
    checkpoint: Checkpoint,
    groups: Groups,
    device_name: str,
    dtype: str,
    seconds: float,
    began: float,
    work: Path,
    out: Path,
) -> int:
    device = pick_device(device_name)
    subject = Subject(checkpoint, device, pick_dtype(dtype, device), work)
    results = list(run(groups, subject, seconds - (time.monotonic() - began)))
    facts = {
        "checkpoint": checkpoint.name,
        "dtype": str(subject.dtype).removeprefix("torch."),
        **page.machine(device),
        "seconds": round(time.monotonic() - began),
    }
    page.write(out, facts, results)
    counted = page.counts(results)
    print(f"{', '.join(f'{count} {status}' for status, count in counted.items())}: {out / page.PAGE_FILE}")
    return 1 if counted["fail"] else 0
