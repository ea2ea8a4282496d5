"""CPU seconds of training jobs of three steps, stage by stage: what a job costs beside its steps.

    python -m benchmarks.job [--backend ace_step] [--jobs 3]

The jobs run one after the other, each on three new songs of 15 s, as the training service starts them. The first one
starts the template process, which imports the libraries, and computes what later ones find in the cache. One more job
trains on the songs of the last one again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from contract import TrainRequest
from core.settings import Settings
from tests.stress.interruptions import configured_storage, song
from training.jobs.admission import Admission
from training.jobs.fork import ForkLauncher
from training.jobs.store import Jobs

_STEPS, _SONGS, _SONG_SECONDS = 3, 3, 15
_SAMPLE_SECONDS = 0.1
_FOLDER = "BENCHMARK_FOLDER"
_OTHER = "other"
_TEMPLATE, _READING = "imports, in the template", "reading files, in sandboxes"
# The functions whose CPU time is a stage's, by `module:attribute`; a nested stage's time is not the outer one's.
_STAGES = {
    "training.devices:resolve": "checkpoint's digest",
    "training.pipeline:load_model": "model",
    "training.pipeline:load_dataset": "dataset",
    "training.pipeline:split_dataset": "examples and features",
    "training.loop:Session.advance": "steps",
    "training.fit:measure": "held-out loss",
    "training.fit:Fit._preview": "previews",
    "training.fit:Fit._save_checkpoint": "training checkpoint",
    "training.evaluation.evaluate:_compare_losses": "evaluation: losses",
    "training.pipeline:evaluate": "evaluation: pieces and verdict",
    "training.pipeline:save_adapter": "adapter",
    "training.pipeline:page.publish": "report's page",
}


class Stopwatch:
    """The CPU time of this process by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._stages = [_OTHER]
        self._since = time.process_time()

    def stop(self) -> None:
        """Add the time since the last change of stage to the current one."""
        now = time.process_time()
        self.seconds[self._stages[-1]] += now - self._since
        self._since = now

    def timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            self.stop()
            self._stages.append(stage)
            try:
                return function(*arguments, **named)
            finally:
                self.stop()
                self._stages.pop()

        return run


def stages() -> Iterator[tuple[Any, str, str]]:
    """The object that has each stage's function, the function's name there, and the stage's."""
    for path, stage in _STAGES.items():
        module, _, attribute = path.partition(":")
        *owners, name = attribute.split(".")
        owner: Any = import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        yield owner, name, stage


def load() -> None:
    """Prepare the template as the service does, and time the stages of its children."""
    from training import run, warm

    warm.load()
    original = run.run_attempt

    def measured(job_id: str, attempt: int) -> int:
        watch = Stopwatch()
        for owner, name, stage in stages():
            setattr(owner, name, watch.timed(getattr(owner, name), stage))
        status = original(job_id, attempt)
        watch.stop()
        (Path(os.environ[_FOLDER]) / f"{job_id}.json").write_text(json.dumps(watch.seconds))
        return status

    run.run_attempt = measured


class Usage:
    """The CPU time of the processes that this one has started, by what they do."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int, float], float] = {}

    def sample(self) -> None:
        for process in psutil.Process().children(recursive=True):
            try:
                line, times = " ".join(process.cmdline()), process.cpu_times()
                own = _READING if "core.sandbox.child" in line else _TEMPLATE
                if own == _TEMPLATE and process.ppid() != os.getpid():
                    continue  # the job's process, which times itself
                self._seconds[own, process.pid, process.create_time()] = times.user + times.system
            except psutil.NoSuchProcess:
                continue

    def totals(self) -> dict[str, float]:
        self.sample()
        totals = {_TEMPLATE: 0.0, _READING: 0.0}
        for (own, _, _), seconds in self._seconds.items():
            totals[own] += seconds
        return totals


async def _run(launcher: ForkLauncher, usage: Usage, folder: Path, job_id: str) -> dict[str, float]:
    """The CPU seconds of a job by stage."""
    before = usage.totals()
    process = await launcher.start(job_id, 0)
    ended = asyncio.ensure_future(process.wait())
    while not ended.done():
        usage.sample()
        await asyncio.sleep(_SAMPLE_SECONDS)
    assert ended.result() is None, ended.result()
    others = {own: seconds - before[own] for own, seconds in usage.totals().items()}
    stages: dict[str, float] = json.loads((folder / f"{job_id}.json").read_text())
    return stages | others


async def _measure(backend: str, jobs: int, folder: Path) -> list[dict[str, float]]:
    storage, launcher, usage, measured = configured_storage(), ForkLauncher("benchmarks.job:load"), Usage(), []
    paths: list[str] = []
    for number in range(jobs + 1):
        if number < jobs:
            paths = [song(storage, number * _SONGS + index, _SONG_SECONDS) for index in range(_SONGS)]
        fields = {"producer_id": "ada", "upload_paths": paths, "max_steps": _STEPS, "backend_override": backend}
        record = Admission(storage, Settings()).admit(TrainRequest.model_validate(fields))
        measured.append(await _run(launcher, usage, folder, record.job_id))
        ended = Jobs(storage).get(record.job_id)
        assert ended.state == "done", ended.error
    launcher.close()
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="ace_step")
    parser.add_argument("--jobs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="job-") as folder:
        os.environ |= {
            "STORAGE_URL": (Path(folder) / "data").as_uri(),
            "BENTOML_HOME": folder + "/bentoml",
            "XDG_CACHE_HOME": folder + "/cache",
            _FOLDER: folder,
        }
        measured = asyncio.run(_measure(options.backend, options.jobs, Path(folder)))
    jobs = [*(f"job {number}" for number in range(1, options.jobs + 1)), "the same songs again"]
    print("| CPU seconds | " + " | ".join(jobs) + " |")
    print("|---|" + "---|" * len(jobs))
    for stage in (_TEMPLATE, _READING, *dict.fromkeys(_STAGES.values()), _OTHER):
        print(f"| {stage} | " + " | ".join(f"{seconds.get(stage, 0):.1f}" for seconds in measured) + " |")
    print("| all | " + " | ".join(f"{sum(seconds.values()):.1f}" for seconds in measured) + " |")


if __name__ == "__main__":
    main()
