"""Hear two twins and the blend of them: three tracks from one prompt and one seed.

    python blend.py ada:night bob:dawn --weights 1 0.5

Needs Python 3.11 and httpx, and a running service with two twins of one backend.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import httpx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("twins", nargs=2, metavar="TWIN", help="producer:model")
    parser.add_argument("--weights", nargs=2, type=float, default=[1.0, 1.0], help="shares of the blend, -1 to 1")
    parser.add_argument("--scale", type=float, default=1.0, help="how strongly the twins work, 0 to 2")
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="where the service is")
    parser.add_argument("--key", help="an API key; a service on your own machine may need none")
    parser.add_argument("--prompt", default="808 trap beat, dark synth")
    parser.add_argument("--seconds", type=float, default=30, help="length of each track")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("blend"), help="the folder for the tracks")
    options = parser.parse_args()

    first, second = options.twins
    # Weights are shares: only their proportions count, so that a blend is as strong as one twin.
    blend = [{"lora_id": twin, "weight": weight} for twin, weight in zip(options.twins, options.weights, strict=True)]
    wanted = {"first.wav": {"lora_id": first}, "second.wav": {"lora_id": second}, "blend.wav": {"loras": blend}}
    common = {
        "prompt": options.prompt,
        "duration_seconds": options.seconds,
        "seed": options.seed,
        "lora_scale": options.scale,
    }
    headers = {"accept": "audio/wav"} | ({"authorization": f"Bearer {options.key}"} if options.key else {})
    options.out.mkdir(parents=True, exist_ok=True)
    with httpx.Client(base_url=options.url, headers=headers, timeout=httpx.Timeout(30, read=None)) as service:
        for name, twins in wanted.items():
            answer = service.post("/generate", json=common | twins)
            if answer.is_error:
                # Every error is {"error": "one sentence"}.
                raise SystemExit(f"{name}: {answer.status_code} {answer.json()['error']}")
            (options.out / name).write_bytes(answer.content)
            print(options.out / name)


if __name__ == "__main__":
    main()
