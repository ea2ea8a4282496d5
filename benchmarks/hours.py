"""Peak memory of a training job: three hours of music against ten minutes.

    python -m benchmarks.hours [--backend ace_step]

Each is a whole job, from upload to report, in a separate process, as the service starts it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from contract import TrainRequest
from core.settings import ROOT, Settings
from tests.stress.interruptions import configured_storage, song
from training.jobs.admission import Admission
from training.jobs.store import Jobs

_FILE_SECONDS, _LOOP_SECONDS, _STEPS = 300, 30, 20
_MINUTES = (10, 180)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="ace_step")
    parser.add_argument("--minutes", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.minutes:
        _train(options.backend, options.minutes)
        return
    peaks = []
    for minutes in _MINUTES:
        command = [sys.executable, "-m", "benchmarks.hours", "--backend", options.backend, "--minutes", str(minutes)]
        peaks.append(float(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout))
        print(f"{options.backend}, {minutes} minutes of music: {peaks[-1]:.0f} MiB at most", flush=True)
    print(f"{peaks[1] / peaks[0]:.2f} times as much")


def _train(backend: str, minutes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="hours-") as folder:
        os.environ |= {
            "STORAGE_URL": (Path(folder) / "data").as_uri(),
            "BENTOML_HOME": folder + "/bentoml",
            "XDG_CACHE_HOME": folder + "/cache",
        }
        storage = configured_storage()
        files, repeats = minutes * 60 // _FILE_SECONDS, _FILE_SECONDS // _LOOP_SECONDS
        paths = [song(storage, number, _LOOP_SECONDS, repeats) for number in range(files)]
        fields = {"producer_id": "ada", "upload_paths": paths, "max_steps": _STEPS, "backend_override": backend}
        record = Admission(storage, Settings()).admit(TrainRequest.model_validate(fields))
        command = [sys.executable, "-m", "training.run", record.job_id, "0"]
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=True)
        ended = Jobs(storage).get(record.job_id)
        assert ended.state == "done", ended.error
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
