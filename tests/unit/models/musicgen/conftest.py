"""The tiny MusicGen, and variants of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import MusicgenForConditionalGeneration

from models.checkpoints import Checkpoint, resolve
from models.musicgen import MusicGen
from models.tiny import musicgen as tiny


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return resolve("starter", "musicgen_test", tiny.build)


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> MusicGen:
    return MusicGen.load(checkpoint, torch.device("cpu"), torch.float32)


@pytest.fixture
def short(model: MusicGen) -> MusicGen:
    """The same model with a window of 1 s instead of 30, for what would take long."""
    decoder = copy.deepcopy(model.model.decoder.config)
    decoder.max_position_embeddings = 50 + 4
    shortened = copy.copy(model)
    shortened.model = copy.copy(model.model)
    shortened.model.decoder = copy.copy(model.model.decoder)
    shortened.model.decoder.config = decoder
    return shortened


@pytest.fixture(scope="module")
def stereo(model: MusicGen) -> MusicGen:
    """The same with left and right, as in the musicgen-stereo checkpoints."""
    config = copy.deepcopy(model.model.config)
    config.decoder.num_codebooks, config.decoder.audio_channels = 8, 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wide = MusicgenForConditionalGeneration(config).eval().requires_grad_(False)
    wide.audio_encoder = model.model.audio_encoder
    wide.generation_config = model.model.generation_config
    return MusicGen(wide, model.tokenizer)


@pytest.fixture
def overheard(model: MusicGen) -> Iterator[list[torch.Tensor]]:
    """The codes `[K, T]` that EnCodec is given within the test, one entry a channel."""
    codes: list[torch.Tensor] = []
    decode_stock = model.codec.decode

    def overhear(chunks: torch.Tensor, *rest: Any, **names: Any) -> Any:
        codes.append(chunks[0, 0])
        return decode_stock(chunks, *rest, **names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.codec, "decode", overhear)
        yield codes
