"""The strength of a track's twins: the request's, or else what each twin's file recommends; and of kinds of layers."""

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
from pydantic import ValidationError
from starlette.datastructures import Headers

from adapters.adapter_file import Header
from adapters.serialization import encode
from adapters.weights import LoraPair, linear_layers
from api.routes.handler import Front, Inputs
from api.routes.tracks import generate
from api.routes.twins import list_all
from cli import library_and_runners
from contract import GenerateAnswer, GenerateForm, GenerateRequest
from core.settings import settings
from generation.generated import Generated
from generation.outbox import Outbox
from generation.pipeline import Generation
from models.ace_step import AceStep
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from storage import Storage, keys

SCALES = {"weak": 0.5, "strong": 1.5, "old": None}


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory, module_storage: Storage) -> Iterator[Generation]:
    """The starter with the same adapter as three twins: `old` is from before twins had a scale of their own.

    Theirs changes attention layers alone. A fourth, `both`, changes others as well.
    """
    folder = tmp_path_factory.mktemp("scale")
    library, runners = library_and_runners(module_storage)
    checkpoint = resolve("starter", "ace_step", tiny.build)
    model = AceStep.load(checkpoint, torch.device("cpu"), torch.float32)
    pairs = {
        layer: LoraPair(torch.full((linear.in_features, 1), 1e-2), torch.ones(1, linear.out_features))
        for layer, linear in linear_layers(model.adapted).items()
        if layer.endswith(("self_attn.to_q", "up_proj"))
    }
    attention = {layer: pair for layer, pair in pairs.items() if layer.endswith("to_q")}
    for name, scale in (SCALES | {"both": None}).items():
        made_at = "2026-01-01T00:00:00+00:00"
        header = Header(
            "ada", name, "ace_step", "starter", checkpoint.sha256, 1, "j", made_at, "", recommended_scale=scale
        )
        library.add(encode(header, pairs if name == "both" else attention, model))
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
    assert {row.model_name: row.recommended_scale for row in rows} == {
        "weak": 0.5,
        "strong": 1.5,
        "old": 1.0,
        "both": 1.0,
    }


def test_the_kinds_of_layers_have_their_own_scales(generation: Generation) -> None:
    def sound(**body: Any) -> np.ndarray:
        return _sound(_track(generation, **body))

    whole, none = sound(lora_id="ada:both"), sound(lora_id="ada:both", lora_scale=0)
    attention, mlp = ({"attention": 1, "mlp": 0}, {"attention": 0, "mlp": 1})
    only_attention, only_mlp = (sound(lora_id="ada:both", lora_scales=scales) for scales in (attention, mlp))
    assert np.array_equal(whole, sound(lora_id="ada:both", lora_scales={}))
    assert np.array_equal(none, sound(lora_id="ada:both", lora_scales={"attention": 0, "mlp": 0}))
    distinct = (whole, none, only_attention, only_mlp)
    assert all(not np.array_equal(one, two) for number, one in enumerate(distinct) for two in distinct[:number])
    # They multiply lora_scale, and each twin of a blend.
    half = sound(lora_id="ada:both", lora_scale=0.5)
    assert np.array_equal(half, sound(lora_id="ada:both", lora_scale=1, lora_scales={"attention": 0.5, "mlp": 0.5}))
    blend = [{"lora_id": "ada:both"}, {"lora_id": "ada:old"}]
    blended = sound(loras=blend, lora_scale=1, lora_scales={"attention": 0.8, "mlp": 0})
    alone = sound(lora_id="ada:old", lora_scale=0.8)  # the attention layers of both are the same
    assert np.abs(blended - alone).max() <= 1.01 / 32768
    # A twin of attention layers alone has no others to scale.
    scaled = sound(lora_id="ada:strong", lora_scales={"mlp": 2})
    assert np.array_equal(scaled, sound(lora_id="ada:strong"))


def test_requests_of_one_batch_have_their_own_scales_of_layers(generation: Generation) -> None:
    bodies: list[dict[str, Any]] = [
        {"lora_id": "ada:both", "lora_scales": {"attention": attention, "mlp": 1}} for attention in (0, 0.5, 1)
    ]
    fields: dict[str, Any] = {"prompt": "dark techno", "duration_seconds": 0.5, "steps": 4, "seed": 1}
    requests = [GenerateRequest.model_validate(fields | body | {"output_format": "flac"}) for body in bodies]

    async def together() -> list[Generated]:
        return list(await asyncio.gather(*(generation.generate(request, as_base64=False) for request in requests)))

    for body, beside in zip(bodies, asyncio.run(together()), strict=True):
        alone = _track(generation, steps=4, **body)
        assert np.abs(_sound(alone) - _sound(beside)).max() <= 1.01 / 32768


def test_the_scales_of_layers_are_in_the_tracks_record_and_repeat_it(generation: Generation) -> None:
    made = _track(generation, lora_id="ada:both", lora_scales={"attention": 0.4})
    track_id = keys.track_id(made.key)
    assert track_id is not None
    record = generation.track_library.find(track_id)
    assert record.options["lora_scales"] == {"attention": 0.4}
    again = _track(generation, **{name: record.options[name] for name in ("lora_id", "lora_scales", "seed")})
    assert np.array_equal(_sound(again), _sound(made))


def test_a_form_has_the_scales_of_layers_as_json() -> None:
    form = GenerateForm.model_validate({"prompt": "x", "lora_id": "ada:both", "lora_scales": '{"mlp": 0.5}'})
    assert form.lora_scales and (form.lora_scales.attention, form.lora_scales.mlp) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"lora_scales": {"mlp": 1}}, "lora_scales: there is no twin"),
        ({"lora_id": "ada:both", "lora_scales": {"mlp": 2.1}}, "less than or equal to 2"),
        ({"lora_id": "ada:both", "lora_scales": {"attention": -0.1}}, "greater than or equal to 0"),
        ({"lora_id": "ada:both", "lora_scales": {"attn": 1}}, "attn"),
        ({"lora_id": "ada:both", "lora_scales": 1}, "lora_scales"),
    ],
)
def test_bad_scales_of_layers_are_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        GenerateRequest.model_validate({"prompt": "x"} | fields)
