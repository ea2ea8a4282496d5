"""Upload beats, train a twin on them, and generate a track with it.

    python upload_train_generate.py beat.wav another.flac --producer ada --model night

Needs the package producer-twin (`pip install ./clients/python`), and a running service (`make serve`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from producer_twin import Job, ProducerTwin, ProducerTwinError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="audio files of one producer; three or more make a twin")
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="where the service is")
    parser.add_argument("--key", help="an API key; a service on your own machine may need none")
    parser.add_argument("--producer", default="ada", help="the producer's id")
    parser.add_argument("--model", default="night", help="the twin's name")
    parser.add_argument("--max-steps", type=int, help="train for fewer or more steps than the service chooses")
    parser.add_argument("--prompt", default="808 trap beat, dark synth")
    parser.add_argument("--seconds", type=float, default=30, help="length of the track")
    parser.add_argument("--seed", type=int, default=7, help="the same request with the same seed gives the same track")
    parser.add_argument("--out", type=Path, default=Path("track.wav"))
    options = parser.parse_args()

    with ProducerTwin(options.url, options.key) as studio:
        job = studio.train(options.producer, options.files, model_name=options.model, max_steps=options.max_steps)
        print(f"job {job.job_id}")
        twin = job.wait(on_change=show).twin()
        if verdict := twin.report().verdict:
            print(f"{verdict.verdict}: {verdict.sentence} {verdict.advice}")
        track = twin.generate(options.prompt, duration_seconds=options.seconds, seed=options.seed)
        track.save(options.out)
    print(f"{options.out}: {track.duration_seconds:g} s with {twin.lora_id}")


def show(job: Job) -> None:
    print(f"  {job.state}, step {job.step or 0} of {job.total_steps or '?'}")


if __name__ == "__main__":
    try:
        main()
    except ProducerTwinError as error:
        raise SystemExit(str(error)) from None
