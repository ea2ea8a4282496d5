"""The tempo of a track: the request's, or else the twin's."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Mapping
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
from api.routes.twins import list_all
from cli import library_and_runners
from contract import GenerateRequest
from core.settings import settings
from generation.outbox import Outbox
from generation.pipeline import Generation
from models.ace_step import AceStep
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from storage import Storage


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory, module_storage: Storage) -> Iterator[Generation]:
    """The starter with three twins: `fast` at 150 bpm, `slow` at 80, and `old` from before twins had a tempo."""
    folder = tmp_path_factory.mktemp("tempo")
    library, runners = library_and_runners(module_storage)
    checkpoint = resolve("starter", "ace_step", tiny.build)
    model = AceStep.load(checkpoint, torch.device("cpu"), torch.float32)
    for name, bpm in (("fast", 150), ("slow", 80), ("old", None)):
        pairs = {
            layer: LoraPair(torch.full((linear.in_features, 1), 1e-3), torch.ones(1, linear.out_features))
            for layer, linear in linear_layers(model.adapted).items()
            if layer.endswith("self_attn.to_q")
        }
        made_at = "2026-01-01T00:00:00+00:00"
        header = Header("ada", name, "ace_step", "starter", checkpoint.sha256, 1, "j", made_at, "", bpm=bpm)
        library.add(encode(header, pairs, model))
    yield Generation(runners, library, Outbox(module_storage, "tempo", folder / "outbox"), settings())


def _track(generation: Generation, **body: Any) -> tuple[np.ndarray, str]:
    """The samples, and the tempo of the provenance, which is empty if it has none."""
    fields: Mapping[str, Any] = {"prompt": "dark techno", "duration_seconds": 0.5, "steps": 1, "seed": 1}
    request = GenerateRequest.model_validate({**fields, **body})
    track = asyncio.run(generation.generate(request, as_base64=False))
    with soundfile.SoundFile(io.BytesIO(track.file)) as file:
        facts = dict(fact.split("=") for fact in file.comment.split("; ")[1:])
        return file.read(), facts.get("bpm", "")


@pytest.mark.slow
def test_a_twins_tempo_is_the_default_and_is_as_good_as_sent(generation: Generation) -> None:
    default, bpm = _track(generation, lora_id="ada:fast")
    assert bpm == "150"
    sent, bpm = _track(generation, lora_id="ada:fast", bpm=150)
    assert (bpm, np.array_equal(default, sent)) == ("150", True)
    other, bpm = _track(generation, lora_id="ada:fast", bpm=90)
    assert (bpm, np.array_equal(default, other)) == ("90", False)


@pytest.mark.slow
def test_a_blend_takes_the_tempo_of_its_strongest_twin_that_has_one(generation: Generation) -> None:
    def tempo(**weights: float) -> str:
        return _track(generation, loras=[{"lora_id": f"ada:{name}", "weight": part} for name, part in weights.items()])[
            1
        ]

    assert tempo(fast=0.3, slow=0.7) == "80"
    assert tempo(fast=0.3, old=0.7) == "150"
    assert tempo(fast=0.3, slow=-0.7) == "150"


@pytest.mark.parametrize("words", ["slow ballad, 70 bpm", "70 BPM ballad", "tempo: 70", "70 beats per minute"])
def test_a_tempo_in_the_prompt_is_not_contradicted(generation: Generation, words: str) -> None:
    assert _track(generation, lora_id="ada:fast", prompt=words)[1] == ""
    assert _track(generation, lora_id="ada:fast", prompt=words, bpm=90)[1] == "90"


def test_other_numbers_in_the_prompt_are_no_tempo(generation: Generation) -> None:
    assert _track(generation, lora_id="ada:fast", prompt="90s house, 808, up-tempo")[1] == "150"


@pytest.mark.parametrize("body", [{}, {"lora_id": "ada:old"}, {"lora_id": "ada:fast", "lora_scale": 0}])
def test_nothing_else_has_a_default_tempo(generation: Generation, body: dict[str, Any]) -> None:
    assert _track(generation, **body)[1] == ""


def test_the_default_tempo_is_listed(generation: Generation) -> None:
    front = SimpleNamespace(library=generation.library, runners=generation.runners, settings=generation.settings)
    answer = asyncio.run(list_all(cast(Front, front), Inputs({}, {}, Headers(), None)))
    assert {twin.model_name: twin.bpm for twin in answer.loras} == {"fast": 150, "slow": 80, "old": None}
