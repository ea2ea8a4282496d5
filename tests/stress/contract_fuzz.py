"""Random requests from the OpenAPI document: no answer may be a 5xx, and every error must have the contract's form.

    make contract-fuzz                        some 20,000 requests
    python -m tests.stress.contract_fuzz --examples 100

Starts a server of its own. /train is left out: it waits for the training, and its body is that of /train/submit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from core.settings import ROOT
from scripts.serving import serving, tiny_checkpoints

ST = ROOT / ".venv" / "fuzz" / "bin" / "st"


def run(examples: int, workers: int) -> int:
    with tempfile.TemporaryDirectory(prefix="contract-fuzz-") as name:
        folder = Path(name)
        environment = {"MAX_DURATION_SECONDS": "1", "LOG_LEVEL": "WARNING"} | tiny_checkpoints(folder)
        with serving(folder, environment) as server:
            common = [
                *(str(ST), "run", f"{server.url}/docs.json", "--checks", "one_shape", "--phases", "coverage,fuzzing"),
                *("--suppress-health-check", "all", "--continue-on-failure", "--no-color", "--exclude-path", "/train"),
            ]
            hooks = {"SCHEMATHESIS_HOOKS": "tests.stress.error_shape", "PYTHONPATH": str(ROOT)}
            # Fewer requests of /generate, since a track takes a second.
            quick = [*common, "-n", str(examples), "-w", str(workers), "--exclude-path", "/generate"]
            slow = [*common, "-n", str(examples // 8), "--include-path", "/generate"]
            codes = [subprocess.run(command, env=os.environ | hooks).returncode for command in (quick, slow)]
        return max(codes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1200, help="at most, for each operation")
    # More than one fails now and then: Hypothesis calls the parser of Python 3.11, which is not thread-safe.
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    sys.exit(run(given.examples, given.workers))
