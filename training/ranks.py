"""Data-parallel training on several devices of one machine: a process (rank) for each device.

The job's own process is rank 0. It starts the others (`python -m training.ranks FOLDER RANK`), which load the same
model, read the same examples, copy rank 0's adapter and then take every step with it, each on its part of the batch.
Evaluation, checkpoints and reports are rank 0's alone. The ranks find each other by a file, so that no port is open,
and all end when rank 0 ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
from core.temporary import TemporaryFolder
from models.checkpoints import Checkpoint
from runners import TABLE
from training.base import Recipe
from training.devices import load_model
from training.examples import Examples
from training.loop import TrainingFailed, session

_PLAN = "plan.pt"
_POLL_SECONDS = 0.2
# Ranks wait for the next step while rank 0 evaluates. A rank that dies is noticed at once, whatever the timeout.
_STEP_TIMEOUT = timedelta(days=1)
# The ranks cannot be reached from other machines.
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


@contextmanager
def distributed(
    names: Sequence[str],
    backend: str,
    base: Checkpoint,
    recipe: Recipe,
    examples: Examples,
    check_stop: Callable[[], None],
) -> Iterator[None]:
    """Within the block this process is rank 0, with another rank on each further device.

    Args:
        names: the devices; the first is this process's. If there is only one, nothing is started.
        check_stop: called while the ranks start; it may raise to stop.

    Raises:
        TrainingFailed: a rank could not start.
    """
    if len(names) == 1:
        yield
        return
    with TemporaryFolder("ranks") as folder:
        plan = {
            "devices": list(names),
            "backend": backend,
            "base_sha256": base.sha256,
            "recipe": recipe.plain(),
            "examples": [str(path) for path in examples.paths],
        }
        torch.save(plan, folder / _PLAN)
        processes = [_start(folder, rank) for rank in range(1, len(names))]
        try:
            while not all(_ready(folder, rank).exists() for rank in range(1, len(names))):
                check_stop()
                for rank, process in enumerate(processes, 1):
                    if process.poll() is not None:
                        raise TrainingFailed(f"the training process on {names[rank]} ended; its log says why")
                time.sleep(_POLL_SECONDS)
            with _process_group(folder, 0, names):
                yield
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _start(folder: Path, rank: int) -> subprocess.Popen[bytes]:
    # The rank ends at the end of its standard input, which the operating system closes when this process ends.
    command = [sys.executable, "-m", "training.ranks", str(folder), str(rank)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT)


def _ready(folder: Path, rank: int) -> Path:
    return folder / f"ready-{rank}"


@contextmanager
def _process_group(folder: Path, rank: int, names: Sequence[str]) -> Iterator[None]:
    """Within the block this process is a rank of torch's process group, which `accelerate` uses."""
    environment, threads = os.environ.copy(), torch.get_num_threads()
    index, count = torch.device(names[rank]).index, str(len(names))
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ["LOCAL_RANK"] = str(rank if index is None else index)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)
    if names[rank] == "cpu":
        torch.set_num_threads(max(1, threads // names.count("cpu")))
        os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    AcceleratorState._reset_state(reset_partial_state=True)  # forget an earlier training in this process
    # Gloo on GPUs too: it fails at once when a rank dies, whereas NCCL waits for it.
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", timeout=_STEP_TIMEOUT, rank=rank, world_size=len(names)
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)
        os.environ.clear()
        os.environ.update(environment)
        torch.set_num_threads(threads)


def _run_rank(folder: Path, rank: int, config: Settings) -> None:
    """Run a rank other than 0 to the last step."""
    plan: Mapping[str, Any] = torch.load(folder / _PLAN, weights_only=True)
    backend = TABLE.choose(plan["backend"], config)
    base, model = load_model(backend, plan["devices"][rank], config, lambda: None)
    if base.sha256 != plan["base_sha256"]:
        raise ValueError(f"{base.name} has changed since the job began")
    trainer, recipe = backend.load_trainer_class()(model), Recipe(**plan["recipe"])
    examples = Examples([Path(path) for path in plan["examples"]])
    _ready(folder, rank).touch()
    with _process_group(folder, rank, plan["devices"]), session(trainer, model.adapted, recipe) as running:
        running.share()
        while running.step < recipe.steps:
            running.advance(examples)


def _end_with_rank_0() -> None:
    os.read(0, 1)  # returns when rank 0 has ended
    os._exit(0)


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    config = settings()
    logs.configure(config)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all ranks; rank 0 handles it
    threading.Thread(target=_end_with_rank_0, daemon=True).start()
    _run_rank(folder, rank, config)


if __name__ == "__main__":
    main()
