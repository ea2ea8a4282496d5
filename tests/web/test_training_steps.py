"""The page's estimate of a training's steps."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import playwright

from runners import TABLE
from scripts.web import WEB
from training.base import MAX_DEFAULT_STEPS, MIN_DEFAULT_STEPS, steps_for
from training.evaluation.held_out import choose_held_out

# Playwright's Node runs TypeScript; the oldest one that the app supports does not.
NODE = Path(playwright.__file__).parent / "driver" / "node"
RUN = """
import { readFileSync } from "node:fs";
const { trainingSteps } = await import(process.argv[1]);
const { training, songs } = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(songs.map((lengths) => trainingSteps(training, lengths))));
"""


def test_the_page_estimates_the_steps_that_the_service_takes() -> None:
    rng = random.Random(1)
    songs = [[rng.uniform(1, 400) for _ in range(count)] for count in range(1, 41) for _ in range(5)]
    songs += [[30.0] * 20, [30.0] * 12, [600.0, 600.0, 600.0], [500.0, 20.0, 30.0]]

    def steps(lengths: list[float]) -> int:
        # The page does not know the digests, and takes the songs as they come.
        held_out = choose_held_out([(song, f"{song:03}", seconds) for song, seconds in enumerate(lengths)])
        return steps_for(sum(seconds for song, seconds in enumerate(lengths) if song not in held_out), "ace_step")

    training = {
        "steps_per_second": TABLE["ace_step"].training_steps_per_second,
        "min_steps": MIN_DEFAULT_STEPS,
        "max_steps": MAX_DEFAULT_STEPS,
    }
    estimated = subprocess.run(
        [NODE, "--input-type=module", "-e", RUN, WEB / "lib" / "trainingSteps.ts"],
        input=json.dumps({"training": training, "songs": songs}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(estimated.stdout) == [steps(lengths) for lengths in songs]
