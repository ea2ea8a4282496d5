"""A process that trains until its standard input ends.

    python -m verification.trainee FOLDER NAME SHA256 DEVICE DTYPE

It prints a line when the first step is done, and at the end the number of steps.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import torch

from models.ace_step import AceStep
from models.checkpoints import Checkpoint
from training.ace_step import AceStepTrainer
from training.loop import session
from verification.subject import FULL, SHORT
from verification.training import examples, recipe

# More than are taken, so that the learning rate stays within its plan.
_MAX_STEPS = 100_000


def main() -> None:
    folder, name, digest, device, dtype = sys.argv[1:]
    model = AceStep.load(Checkpoint(name, Path(folder), digest), torch.device(device), getattr(torch, dtype))
    lengths = FULL if model.device.type == "cuda" else SHORT
    music, stop = examples(model, lengths.clip), threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    with session(AceStepTrainer(model), model.adapted, recipe(_MAX_STEPS, lengths.batch)) as running:
        while not stop.is_set():
            running.advance(music)
            if running.step == 1:
                print("training", flush=True)
        print(running.step, flush=True)


if __name__ == "__main__":
    main()
