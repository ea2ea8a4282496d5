"""Damaged headers of zipped and plain adapters, 10,000 by default: each must be taken or refused within two seconds.

    python -m tests.stress.adapter_headers --count 10000 --seed 1

What is taken is brought into our form as well, as a runner does. Whatever else is raised, or takes longer, ends the run
with the case in adapter-header-failure.bin.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import struct
import time
import zipfile
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save

from adapters.adapter_file import Header, InvalidAdapter
from adapters.foreign import convert
from adapters.weights import linear_layers
from api.imports.unpack import unpacked
from core.errors import Refusal
from models.ace_step import AceStep
from models.adapter_effect import weight_change
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from tests.stress.mutations import JSON_WORDS, damaged

MAX_SECONDS = 2.0


def seeds(model: AceStep | None = None) -> list[tuple[str, bytes]]:
    """Good files with the names that they are sent under; with a model they fit it."""
    name, out, into = "layers.0.self_attn.q_proj", 8, 8
    if model:
        ours, layer = next((n, each) for n, each in linear_layers(model.adapted).items() if n.endswith("to_q"))
        name, out, into = model.file_name(ours), layer.out_features, layer.in_features
    plain = {f"base_model.model.{name}.lora_A.weight": torch.ones(2, into)}
    plain |= {f"base_model.model.{name}.lora_B.weight": torch.ones(out, 2)}
    lokr = {f"{name}.lokr_w1": torch.ones(2, 2), f"{name}.lokr_w2_a": torch.ones(out // 2, 2)}
    lokr |= {f"{name}.lokr_w2_b": torch.ones(2, into // 2), f"{name}.alpha": torch.tensor(1.0)}
    lokr |= {f"{name}.dora_scale": torch.ones(1, into)}
    config = json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "init_lora_weights": True}).encode()
    found = [("a.safetensors", save(plain, {"format": "pt"})), ("b.safetensors", save(lokr))]
    for packed in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", packed) as archive:
            archive.writestr("x/adapter_config.json", config)
            archive.writestr("x/adapter_model.safetensors", save(plain))
            archive.writestr("__MACOSX/x/._adapter_model.safetensors", b"\0\5\x16\7")
        found.append(("c.zip", file.getvalue()))
    return found


def mutated(data: bytes, source: random.Random) -> bytes:
    """One to four changes, most of them in the file's headers."""
    return damaged(data, source, _place, JSON_WORDS, most=4)


def _place(data: bytes, source: random.Random) -> int:
    """Within a header, if there is one: the table of tensors, or a record of the archive."""
    if not data:
        return 0
    records = [at for at in range(len(data) - 3) if data[at : at + 2] == b"PK"][:50]
    if records and source.random() < 0.8:
        return min(len(data) - 1, source.choice(records) + source.randrange(60))
    if not records and source.random() < 0.9:
        (length,) = struct.unpack("<Q", data[:8].ljust(8, b"\0"))
        return source.randrange(min(len(data), 8 + length))
    return source.randrange(len(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    source = random.Random(arguments.seed)
    model = AceStep.load(resolve("starter", "ace_step_fuzz", tiny.build), torch.device("cpu"), torch.float32)
    header = Header("ada", "night", "ace_step", "starter", "b" * 64, 0, "", "2026-01-01T00:00:00+00:00", "")
    good = seeds(model)
    ended: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(arguments.count):
        name, data = source.choice(good)
        case = mutated(data, source)
        begun = time.process_time()
        try:
            made = convert(*unpacked({name: case}), header, model)
            weight_change(made.weights, model)
            ended["taken"] += 1
        except Refusal:
            ended["refused by the front"] += 1
        except InvalidAdapter:
            ended["refused by the runner"] += 1
        except BaseException:
            Path("adapter-header-failure.bin").write_bytes(case)
            raise
        seconds = time.process_time() - begun
        slowest = max(slowest, seconds)
        if seconds > MAX_SECONDS:
            Path("adapter-header-failure.bin").write_bytes(case)
            raise SystemExit(f"{name}: {seconds:.1f} s")
    print(f"{arguments.count} cases, slowest {slowest:.2f} s: " + ", ".join(f"{n} {what}" for what, n in ended.items()))


if __name__ == "__main__":
    main()
