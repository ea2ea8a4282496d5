"""What the translation of ACE-Step's API costs beside the track that is asked for.

    python -m benchmarks.acestep [--rounds 20]

CPU time: a body of all usual fields becomes a request, and the ACE-Step starter makes its track of 5 s.
"""

from __future__ import annotations

import argparse
import time

import torch

from api.acestep.translation import translate
from benchmarks.measure import Figure, median
from models.base import Row, Text
from models.checkpoints import resolve
from runners import TABLE
from runners.scheduler import Scheduler

SECONDS = 5.0
CALLS = 100  # in a round
BODY = {
    "prompt": "808 trap beat, dark synth",
    "lyrics": "[Verse]\nNight falls on the city\n[Chorus]\nLights",
    "vocal_language": "en",
    "audio_duration": SECONDS,
    "batch_size": 1,
    "audio_format": "mp3",
    "inference_steps": 8,
    "guidance_scale": 7.0,
    "use_random_seed": False,
    "seed": 7,
    "metas": {"bpm": 140, "keyscale": "C minor", "timesignature": "4"},
    "thinking": False,
    "model": "starter",
}


def measure(rounds: int) -> list[Figure]:
    backend = TABLE["ace_step"]
    checkpoint = resolve("starter", backend.name, backend.load_tiny())
    model = backend.load_model_class().load(checkpoint, torch.device("cpu"), torch.float32)
    request = translate(BODY, {"starter": backend.name}).takes[0]
    row = Row(Text(request.prompt, request.lyrics, request.bpm, request.key), SECONDS, request)
    translations, shares = [], []
    for number in range(rounds + 1):
        start = time.process_time()
        for _ in range(CALLS):
            translate(BODY, {"starter": backend.name})
        translation = (time.process_time() - start) / CALLS
        start = time.process_time()
        scheduler = Scheduler(model)
        scheduler.add(row)
        while scheduler.tickets:
            for _, track in scheduler.run_slice():
                if isinstance(track, Exception):
                    raise track
        if number:  # the first round warms up
            translations.append(1000 * translation)
            shares.append(100 * translation / (time.process_time() - start))
    found, share = median(translations), median(shares)
    return [
        Figure("translating a request of ACE-Step's API, ms", "", found.median, found.low, found.high),
        Figure("of a track of 5 s, %", "≤ 1", share.median, share.low, share.high),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    for figure in measure(parser.parse_args().rounds):
        print(figure)


if __name__ == "__main__":
    main()
