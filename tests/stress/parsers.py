"""The parsers that read bytes from strangers, with valid input for each, for `python -m tests.stress.fuzz`."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
from models.adapter_effect import weight_change
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from preprocessing.captions import ClipInfo, caption
from preprocessing.containers.base import BadAudio
from preprocessing.decode import blocks, check_ends
from tests.sounds import id3, kinds
from tests.stress.mutations import JSON_WORDS, damaged

HEADER = Header("ada", "night", "ace_step", "starter", "b" * 64, 0, "", "2026-01-01T00:00:00+00:00", "")
PEFT_CONFIG = json.dumps(
    {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "alpha_pattern": {"to_q": 1}, "bias": "none"}
).encode()


@dataclass(frozen=True)
class Parser:
    """A parser with valid inputs for it.

    Attributes:
        inputs: valid inputs, each with the file name that it is sent under.
        parse: given a name and data, returns whether the parser takes it; False if it refuses it by its own exception.
        damage: returns a damaged copy of an input.
        max_growth: how much more memory the process may have taken afterwards, in MiB; None for no limit.
    """

    inputs: list[tuple[str, bytes]]
    parse: Callable[[str, bytes], bool]
    damage: Callable[[bytes, random.Random], bytes]
    max_growth: int | None = None


def sounds() -> Parser:
    """Uploads: short sound files of every kind, some with tags or chained."""
    files = dict(kinds(0.2))
    files["mp3 tagged"] = id3(b"TIT2\0\0\0\2\0\0\0a") + files["mp3"] + b"TAG" + bytes(125)
    files["chained"] = files["vorbis"] * 2

    def parse(name: str, data: bytes) -> bool:
        with tempfile.NamedTemporaryFile() as file:
            path = Path(file.name)
            path.write_bytes(data)
            read = 0
            for part in (lambda: check_ends(io.BytesIO(data)), lambda: sum(len(block) for block in blocks(path))):
                with contextlib.suppress(BadAudio):
                    part()
                    read += 1
        return read == 2

    return Parser(sorted(files.items()), parse, damaged, max_growth=900)


def adapters() -> Parser:
    """Adapters in the service's own format."""
    model = _tiny_model()
    pairs = {
        name: LoraPair(torch.randn(layer.in_features, 2), torch.randn(2, layer.out_features))
        for name, layer in linear_layers(model.adapted).items()
        if name.endswith(("to_q", "to_v"))
    }

    def parse(name: str, data: bytes) -> bool:
        with contextlib.suppress(InvalidAdapter):
            parse_header(data[8 : 8 + header_length(data[:8])], len(data))
        try:
            decode(data, model)
        except InvalidAdapter:
            return False
        return True

    return Parser([("a.safetensors", encode(HEADER, pairs, model))], parse, partial(damaged, words=JSON_WORDS))


def imports() -> Parser:
    """Adapters of other tools, plain and zipped, unpacked by the front and converted by a runner."""
    model = _tiny_model()

    def damage(data: bytes, source: random.Random) -> bytes:
        return damaged_header(data, source) if source.random() < 0.5 else damaged(data, source, words=JSON_WORDS)

    return Parser(import_files(model), lambda name, data: _is_converted(model, lambda: unpacked({name: data})), damage)


def configs() -> Parser:
    """PEFT's adapter_config.json beside a valid adapter, which a checksum of its archive would protect from damage."""
    model = _tiny_model()
    adapter = import_files(model)[0][1]

    def parse(name: str, data: bytes) -> bool:
        return _is_converted(model, lambda: (adapter, data))

    return Parser([("adapter_config.json", PEFT_CONFIG)], parse, partial(damaged, words=JSON_WORDS))


def bodies() -> Parser:
    """JSON bodies of requests."""
    models: list[type[BaseModel]] = [GenerateRequest, TrainRequest, StoreUploadRequest]
    song = {"title": "x", "bpm": 120, "key": "Am", "tags": ["a", "b"], "timeSignature": "3/4", "deep": {"a": [1, None]}}
    valid: list[Any] = [
        {"prompt": "a beat", "loraId": "a:b", "durationSeconds": 3.5, "key": "A minor", "bpm": 90, "seed": 1},
        {"producer_id": "p", "uploadUrls": ["https://example.com/a.wav"], "metadataPerFile": [song], "maxSteps": 3},
        {"producer_id": "p", "content_base64": "UklGRg==", "filename": "ä/../b.wav"},
    ]

    def parse(name: str, data: bytes) -> bool:
        taken = False
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
            taken = True
        return taken

    return Parser([("body", json.dumps(body).encode()) for body in valid], parse, partial(damaged, words=JSON_WORDS))


# Sounds first: their limit of memory counts from the peak before, which the models of the others would raise.
PARSERS: dict[str, Callable[[], Parser]] = {
    "sounds": sounds,
    "adapters": adapters,
    "imports": imports,
    "configs": configs,
    "bodies": bodies,
}


def import_files(model: AceStep | None = None) -> list[tuple[str, bytes]]:
    """Adapters of PEFT's kinds and of LyCORIS', plain and zipped, under the names that they are sent under.

    Args:
        model: the model whose first layers they fit; None for a layer that no model has.
    """
    layers = {"layers.0.self_attn.q_proj": (8, 8)}
    if model:
        first = list(linear_layers(model.adapted).items())[:3]
        layers = {model.file_name(name): (layer.out_features, layer.in_features) for name, layer in first}
    lora: dict[str, torch.Tensor] = {}
    lokr: dict[str, torch.Tensor] = {}
    loha: dict[str, torch.Tensor] = {}
    for name, (out, into) in layers.items():
        key = f"base_model.model.{name}"
        lora |= {f"{key}.lora_A.weight": torch.ones(2, into), f"{key}.lora_B.weight": torch.ones(out, 2)}
        lora[f"{key}.lora_magnitude_vector"] = torch.ones(out)
        lokr |= {f"{name}.lokr_w1": torch.ones(2, 2), f"{name}.lokr_w2_a": torch.ones(out // 2, 2)}
        lokr |= {f"{name}.lokr_w2_b": torch.ones(2, into // 2), f"{name}.alpha": torch.tensor(1.0)}
        lokr[f"{name}.dora_scale"] = torch.ones(1, into)
        loha |= {f"{name}.hada_w{number}_a": torch.ones(out, 2) for number in (1, 2)}
        loha |= {f"{name}.hada_w{number}_b": torch.ones(2, into) for number in (1, 2)}
    saved = [save(lora, {"format": "pt"}), save(lokr), save(loha)]
    found = [("a.safetensors", data) for data in saved]
    for data in saved:
        for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", compression) as archive:
                archive.writestr("x/adapter_config.json", PEFT_CONFIG)
                archive.writestr("x/adapter_model.safetensors", data)
                archive.writestr("__MACOSX/x/._adapter_model.safetensors", b"\0\5\x16\7")
            found.append(("a.zip", file.getvalue()))
    return found


def damaged_header(data: bytes, source: random.Random) -> bytes:
    """The data with one to four changes, most of them in headers: the table of tensors, or records of the archive."""
    return damaged(data, source, _place_in_header, JSON_WORDS, most=4)


def _place_in_header(data: bytes, source: random.Random) -> int:
    if not data:
        return 0
    records = [at for at in range(len(data) - 3) if data[at : at + 2] == b"PK"][:50]
    if records and source.random() < 0.8:
        return min(len(data) - 1, source.choice(records) + source.randrange(60))
    if not records and source.random() < 0.9:
        (length,) = struct.unpack("<Q", data[:8].ljust(8, b"\0"))
        return source.randrange(min(len(data), 8 + length))
    return source.randrange(len(data))


def _is_converted(model: AceStep, sent: Callable[[], tuple[bytes, bytes | None]]) -> bool:
    """Whether a runner takes the adapter and the configuration beside it that `sent` returns."""
    try:
        weight_change(convert(*sent(), HEADER, model).weights, model)
    except (Refusal, InvalidAdapter):
        return False
    return True


def _tiny_model() -> AceStep:
    return AceStep.load(resolve("starter", "ace_step_fuzz", tiny.build), torch.device("cpu"), torch.float32)
