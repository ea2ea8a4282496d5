"""The strength of a track's twins: the request's, or else what each twin's file recommends."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import soundfile
import torch
from starlette.datastructures import Headers

from adapters.adapter_file import Header
from adapters.serialization import encode
from adapters.weights import LoraPair, linear_layers
from api.routes.handler import Front, Inputs
from api.routes.tracks import generate
from api.routes.twins import list_all
from cli import library_and_runners
from contract import GenerateAnswer, GenerateRequest
from core.settings import settings
from generation.outbox import Outbox
from generation.pipeline import Generated, Generation
from models.ace_step import AceStep
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from storage import Storage

SCALES = {"weak": 0.5, "strong": 1.5, "old": None}


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory, module_storage: Storage) -> Iterator[Generation]:
    """The starter with the same adapter as three twins: `old` is from before twins had a scale of their own."""
    folder = tmp_path_factory.mktemp("scale")
    library, runners = library_and_runners(module_storage)
    checkpoint = resolve("starter", "ace_step", tiny.build)
    model = AceStep.load(checkpoint, torch.device("cpu"), torch.float32)
    pairs = {
        layer: LoraPair(torch.full((linear.in_features, 1), 1e-2), torch.ones(1, linear.out_features))
        for layer, linear in linear_layers(model.adapted).items()
        if layer.endswith("self_attn.to_q")
    }
    for name, scale in SCALES.items():
        made_at = "2026-01-01T00:00:00+00:00"
        header = Header(
            "ada", name, "ace_step", "starter", checkpoint.sha256, 1, "j", made_at, "", recommended_scale=scale
        )
        library.add(encode(header, pairs, model))
    yield Generation(runners, library, Outbox(module_storage, "scale", folder / "outbox"), settings())


def _track(generation: Generation, **body: Any) -> Generated:
    fields: dict[str, Any] = {"prompt": "dark techno", "duration_seconds": 0.5, "steps": 1, "seed": 1}
    request = GenerateRequest.model_validate(fields | {"output_format": "flac"} | body)
    return asyncio.run(generation.generate(request, as_base64=False))


def _sound(track: Generated) -> np.ndarray:
    return np.asarray(soundfile.read(io.BytesIO(track.file))[0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale"), [("weak", 0.5), ("strong", 1.5), ("old", 1.0)])
def test_a_twin_has_its_own_scale_where_the_request_names_none(generation: Generation, name: str, scale: float) -> None:
    default, sent = (_track(generation, lora_id=f"ada:{name}", **more) for more in ({}, {"lora_scale": scale}))
    assert default.lora_scale == sent.lora_scale == scale
    assert np.array_equal(_sound(default), _sound(sent))
    other = _track(generation, lora_id=f"ada:{name}", lora_scale=0.75)
    assert other.lora_scale == 0.75 and not np.array_equal(_sound(other), _sound(default))


def test_in_a_blend_each_twin_has_its_share_of_its_own_scale(generation: Generation) -> None:
    # The adapter is the same in all: 0.8 of 0.5 and 0.2 of 1.5 are 0.7 of it.
    blend = [{"lora_id": "ada:weak", "weight": 0.8}, {"lora_id": "ada:strong", "weight": 0.2}]
    found = _track(generation, loras=blend)
    one = _track(generation, lora_id="ada:old", lora_scale=0.7)
    assert found.lora_scale == one.lora_scale == 0.7
    assert np.abs(_sound(found) - _sound(one)).max() <= 1.01 / 32768
    sent = _track(generation, loras=blend, lora_scale=1)
    assert sent.lora_scale == 1 and np.abs(_sound(sent) - _sound(one)).max() > 1.01 / 32768


def test_the_answer_and_the_list_of_twins_have_the_scale(generation: Generation) -> None:
    parts = {"library": generation.library, "runners": generation.runners, "settings": generation.settings}
    front = cast(Front, SimpleNamespace(generation=generation, **parts))

    def answered(accept: str = "application/json", **body: Any) -> Any:
        fields: dict[str, Any] = {"prompt": "techno", "duration_seconds": 0.5, "steps": 1, "seed": 1}
        return asyncio.run(generate(front, GenerateRequest.model_validate(fields | body), accept))

    def scale(**body: Any) -> float | None:
        return GenerateAnswer.model_validate_json(answered(**body).body).lora_scale

    assert (scale(lora_id="ada:weak"), scale()) == (0.5, None)
    assert answered("audio/wav", lora_id="ada:strong").headers["x-lora-scale"] == "1.5"
    assert "x-lora-scale" not in answered("audio/wav").headers
    rows = asyncio.run(list_all(front, Inputs({}, {}, Headers(), None))).loras
    assert {row.model_name: row.recommended_scale for row in rows} == {"weak": 0.5, "strong": 1.5, "old": 1.0}
