"""Hear two twins and the blend of them: three tracks from one prompt and one seed.

    python blend.py ada:night bob:dawn --weights 1 0.5

Needs the package producer-twin (`pip install ./clients/python`), and a running service with two twins of one backend.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from producer_twin import ProducerTwin, ProducerTwinError
from producer_twin.requests import BlendPart, GenerateOptions


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
    blend: list[BlendPart] = [
        {"lora_id": twin, "weight": weight} for twin, weight in zip(options.twins, options.weights, strict=True)
    ]
    wanted: dict[str, GenerateOptions] = {
        "first.wav": {"lora_id": first},
        "second.wav": {"lora_id": second},
        "blend.wav": {"loras": blend},
    }
    common: GenerateOptions = {
        "duration_seconds": options.seconds,
        "seed": options.seed,
        "lora_scale": options.scale,
    }
    with ProducerTwin(options.url, options.key) as studio:
        for name, twins in wanted.items():
            settings: GenerateOptions = {**common, **twins}
            print(studio.generate(options.prompt, **settings).save(options.out / name))


if __name__ == "__main__":
    try:
        main()
    except ProducerTwinError as error:
        raise SystemExit(str(error)) from None
