"""A job on several devices: a process for each, and each takes its part of every batch.

The job's own process is rank 0. It starts the others (`python -m training.ranks FOLDER RANK`), which load the same
model, read the same examples, take over its adapter, and from then on step when it does; all else is rank 0's. They are
of this machine, meet by a file and not at a port, and end with rank 0 whatever becomes of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState

from core import logs
from core.settings import ROOT, Settings, settings
from models.base import Model
from models.checkpoints import Checkpoint, resolve
from models.device import pick_device, pick_dtype
from runners import TABLE, Backend
from training import gpu_memory
from training.base import Recipe
from training.examples import Examples
from training.loop import TrainingFailed, session

_PLAN = "plan.pt"
_LOOK_SECONDS = 0.2
# A rank waits for the next step as long as rank 0 measures and plays; one that has died is noticed at once.
_PATIENCE = timedelta(days=1)
# So that nobody else can reach them.
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def names_of(config: Settings) -> list[str]:
    """The names of the devices that train, one for each rank."""
    return [name.strip() for name in (config.train_device or config.device).split(",")]


def load(backend: Backend, name: str, config: Settings, check: Callable[[], None]) -> tuple[Checkpoint, Model]:
    """The backend's model on a device, once that has room for it. `check` is called meanwhile and may raise."""
    device = pick_device(name)

    def wait() -> None:
        check()
        gpu_memory.pause()

    gpu_memory.take_room(device, config.train_gpu_bytes, wait)
    base = resolve(backend.checkpoint_name(config), backend.name, backend.load_tiny(), config.hf_token)
    dtype = pick_dtype(config.dtype, device)
    if dtype is torch.float16:
        dtype = torch.bfloat16  # gradients leave float16's range
    return base, backend.load_model_class().load(base, device, dtype)


@contextmanager
def others(
    names: Sequence[str], backend: str, base: Checkpoint, recipe: Recipe, examples: Examples, check: Callable[[], None]
) -> Iterator[None]:
    """Within the context, rank 0 trains together with a rank on each device but the first of `names`, if there are any.

    Args:
        check: called while they start; it may raise to give up.

    Raises:
        TrainingFailed: one of them could not start.
    """
    if len(names) == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
        plan = {
            "devices": list(names),
            "backend": backend,
            "base_sha256": base.sha256,
            "recipe": recipe.plain(),
            "examples": [str(path) for path in examples.paths],
        }
        torch.save(plan, Path(folder) / _PLAN)
        processes = [_start(folder, rank) for rank in range(1, len(names))]
        try:
            while not all(_ready(folder, rank).exists() for rank in range(1, len(names))):
                check()
                for rank, process in enumerate(processes, 1):
                    if process.poll() is not None:
                        raise TrainingFailed(f"the training process on {names[rank]} ended; its log says why")
                time.sleep(_LOOK_SECONDS)
            with _meeting(folder, 0, names):
                yield
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _start(folder: str, rank: int) -> subprocess.Popen[bytes]:
    # Its input ends when this process does, however that ends.
    command = [sys.executable, "-m", "training.ranks", folder, str(rank)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT)


def _ready(folder: str, rank: int) -> Path:
    return Path(folder) / f"ready-{rank}"


@contextmanager
def _meeting(folder: str, rank: int, names: Sequence[str]) -> Iterator[None]:
    """Within the context all ranks are there, and `accelerate` knows of them."""
    environment, threads = os.environ.copy(), torch.get_num_threads()
    index, count = torch.device(names[rank]).index, str(len(names))
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ["LOCAL_RANK"] = str(rank if index is None else index)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)
    if names[rank] == "cpu":
        torch.set_num_threads(max(1, threads // names.count("cpu")))
        os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    AcceleratorState._reset_state(reset_partial_state=True)  # else it knows of one, if this process has trained before
    # Gloo, on GPUs as well: a rank that dies is an error at once, where NCCL waits for it.
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", timeout=_PATIENCE, rank=rank, world_size=len(names)
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)
        os.environ.clear()
        os.environ.update(environment)
        torch.set_num_threads(threads)


def _follow(folder: str, rank: int, config: Settings) -> None:
    """What a rank does, up to the last step."""
    plan: Mapping[str, Any] = torch.load(Path(folder) / _PLAN, weights_only=True)
    backend = TABLE.choose(plan["backend"], config)
    base, model = load(backend, plan["devices"][rank], config, lambda: None)
    if base.sha256 != plan["base_sha256"]:
        raise ValueError(f"{base.name} has changed since the job began")
    trainer, recipe = backend.load_trainer_class()(model), Recipe(**plan["recipe"])
    examples = Examples([Path(path) for path in plan["examples"]])
    _ready(folder, rank).touch()
    with _meeting(folder, rank, plan["devices"]), session(trainer, model.adapted, recipe) as running:
        running.share()
        while running.step < recipe.steps:
            running.advance(examples)


def _end_with_rank_0() -> None:
    os.read(0, 1)
    os._exit(0)


def main() -> None:
    folder, rank = sys.argv[1], int(sys.argv[2])
    config = settings()
    logs.configure(config)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process of a terminal, and rank 0 decides
    threading.Thread(target=_end_with_rank_0, daemon=True).start()
    _follow(folder, rank, config)


if __name__ == "__main__":
    main()
