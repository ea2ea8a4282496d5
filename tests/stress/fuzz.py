"""Damaged input for every parser of a stranger's bytes, until the time is over: adapters, imports, JSON bodies.

    python -m tests.stress.fuzz --seconds 3600

Each case must be taken or refused by the one exception that the parser names. Whatever else is raised ends the run with
the case written to fuzz-failure.bin, and a crash of the process shows as such; --seed goes on from another place.
(Sound files: `python -m tests.stress.headers`. The whole of preprocessing, and what it leaves behind:
`python -m benchmarks.preprocessing fuzz`.)
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from safetensors.torch import save

from adapters.adapter_file import Header, InvalidAdapter, header_length, parse_header
from adapters.foreign import convert
from adapters.serialization import decode, encode
from adapters.weights import LoraPair, linear_layers
from api.imports.unpack import unpacked
from contract import GenerateRequest, StoreUploadRequest, TrainRequest
from core.errors import Refusal
from models.ace_step import AceStep
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from preprocessing.captions import ClipInfo, caption
from tests.stress.mutations import JSON_WORDS, damaged

# Seconds of CPU time; a case that takes longer is a failure as well.
SLOWEST = 20.0

Parser = Callable[[bytes], None]


def adapters() -> tuple[list[bytes], Parser]:
    checkpoint = resolve("starter", "ace_step_fuzz", tiny.build)
    model = AceStep.load(checkpoint, torch.device("cpu"), torch.float32)
    pairs = {
        name: LoraPair(torch.randn(layer.in_features, 2), torch.randn(2, layer.out_features))
        for name, layer in linear_layers(model.adapted).items()
        if name.endswith(("to_q", "to_v"))
    }
    header = Header("ada", "night", "ace_step", "starter", checkpoint.sha256, 2, "j", "2026-01-01T00:00:00+00:00", "")

    def parse(data: bytes) -> None:
        try:
            end = 8 + header_length(data[:8])
            parse_header(data[8:end], len(data))
        except InvalidAdapter:
            pass
        try:
            decode(data, model)
        except InvalidAdapter:
            return

    return [encode(header, pairs, model)], parse


def imports() -> tuple[list[bytes], Parser]:
    """Adapters as clients send them: zipped folders of PEFT's and of LyCORIS' kinds, damaged anywhere."""
    checkpoint = resolve("starter", "ace_step_fuzz", tiny.build)
    model = AceStep.load(checkpoint, torch.device("cpu"), torch.float32)
    header = Header("ada", "night", "ace_step", "starter", checkpoint.sha256, 0, "", "2026-01-01T00:00:00+00:00", "")
    layers = list(linear_layers(model.adapted).items())[:3]
    kinds: list[dict[str, torch.Tensor]] = [{}, {}, {}]
    for name, layer in layers:
        out, into = layer.out_features, layer.in_features
        key = f"base_model.model.{model.file_name(name)}"
        kinds[0] |= {f"{key}.lora_A.weight": torch.ones(2, into), f"{key}.lora_B.weight": torch.ones(out, 2)}
        kinds[0][f"{key}.lora_magnitude_vector"] = torch.ones(out)
        kinds[1] |= {f"{key}.lokr_w1": torch.ones(2, 2), f"{key}.lokr_w2_a": torch.ones(out // 2, 2)}
        kinds[1] |= {f"{key}.lokr_w2_b": torch.ones(2, into // 2), f"{key}.alpha": torch.tensor(1.0)}
        kinds[2] |= {f"{key}.hada_w{number}_a": torch.ones(out, 2) for number in (1, 2)}
        kinds[2] |= {f"{key}.hada_w{number}_b": torch.ones(2, into) for number in (1, 2)}
    config = json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "alpha_pattern": {"to_q": 1}, "bias": "none"})
    good = []
    for tensors in kinds:
        for packed in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", packed) as archive:
                archive.writestr("x/adapter_config.json", config)
                archive.writestr("x/adapter_model.safetensors", save(tensors))
            good.append(file.getvalue())

    def look(adapter: bytes, beside: bytes | None) -> None:
        with contextlib.suppress(InvalidAdapter):
            convert(adapter, beside, header, model)

    def parse(data: bytes) -> None:
        with contextlib.suppress(Refusal):
            look(*unpacked({"x.zip": data}))
        # A digest within would keep most of the damage from what comes after it: so the parts by themselves as well.
        source = random.Random(data)
        look(damaged(save(source.choice(kinds)), source, words=JSON_WORDS), config.encode())
        look(save(source.choice(kinds)), damaged(config.encode(), source, words=JSON_WORDS))

    return good, parse


def bodies() -> tuple[list[bytes], Parser]:
    models: list[type[BaseModel]] = [GenerateRequest, TrainRequest, StoreUploadRequest]
    song = {"title": "x", "bpm": 120, "key": "Am", "tags": ["a", "b"], "timeSignature": "3/4", "deep": {"a": [1, None]}}
    good: list[Any] = [
        {"prompt": "a beat", "loraId": "a:b", "durationSeconds": 3.5, "key": "A minor", "bpm": 90, "seed": 1},
        {"producer_id": "p", "uploadUrls": ["https://example.com/a.wav"], "metadataPerFile": [song], "maxSteps": 3},
        {"producer_id": "p", "content_base64": "UklGRg==", "filename": "ä/../b.wav"},
    ]

    def parse(data: bytes) -> None:
        for model in models:
            try:
                request = model.model_validate_json(data)
            except ValidationError as error:
                error.errors(include_context=False, include_input=False)
                continue
            if isinstance(request, TrainRequest):
                for metadata in request.metadata:
                    caption(ClipInfo(request.sources[0], metadata))
            request.model_dump_json()

    return [json.dumps(body).encode() for body in good], parse


KINDS = {"adapters": adapters, "imports": imports, "bodies": bodies}


def run(seconds: float, seed: int) -> None:
    source = random.Random(seed)
    counted: Counter[str] = Counter()
    slowest: dict[str, float] = {}
    made = {name: make() for name, make in KINDS.items()}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, (good, parse) in made.items():
            data = damaged(source.choice(good), source, words=JSON_WORDS)
            start = time.process_time()  # what else the machine does must not count
            try:
                parse(data)
                taken = time.process_time() - start
                if taken > SLOWEST:
                    raise TimeoutError(f"it took {taken:.1f} s")
            except Exception:
                Path("fuzz-failure.bin").write_bytes(data)
                print(f"{name}: case {counted[name]} of seed {seed}, in fuzz-failure.bin:")
                raise
            counted[name] += 1
            slowest[name] = max(slowest.get(name, 0.0), taken)
    for name, count in counted.items():
        print(f"{name}: {count} cases, the slowest took {slowest[name]:.2f} s, nothing but refusals by name")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    run(given.seconds, given.seed)
