"""The checkpoints with random weights, whose building is the same for any size."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.ace_step import AceStepAudioTokenDetokenizer, AceStepAudioTokenizer

from contract import SamplingOptions
from models.ace_step import AceStep
from models.base import Row, Text
from models.tiny import ace_step as tiny
from models.weight_files import stored_tensors
from verification import random_checkpoints, sizes

SMALL = sizes.AceStepSize(
    "acestep-v15-turbo",
    {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "in_channels": 24,
        "audio_acoustic_hidden_dim": 8,
        "sliding_window": 16,
        "encoder_hidden_size": 32,
    },
)


def test_a_checkpoint_in_the_authors_layout_is_built_and_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Qwen3Config, Qwen3Model

    text = Qwen3Config(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sizes.ACE_STEP, "2B", SMALL)
    monkeypatch.setattr(sizes, "condition_encoder", tiny._condition_encoder)
    of_tokens: Any = tiny._tokenizer_sizes()
    monkeypatch.setattr(sizes, "audio_tokenizer", partial(AceStepAudioTokenizer, fsq_dim=32, **of_tokens))
    monkeypatch.setattr(
        sizes, "audio_token_detokenizer", lambda: AceStepAudioTokenDetokenizer(**tiny._tokenizer_sizes())
    )
    monkeypatch.setattr(sizes, "vae", tiny._vae)
    monkeypatch.setattr(sizes, "text_encoder", lambda: Qwen3Model(text))
    checkpoint = random_checkpoints.build("2B", tmp_path / "built")
    folder = tmp_path / "built" / SMALL.variant
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "silence_latent.pt"]
    stored = stored_tensors(folder)
    assert {tensor.dtype for tensor in stored.values()} == {"BF16"}
    assert "decoder.layers.1.self_attn.q_proj.weight" in stored and "encoder.lyric_encoder.norm.weight" in stored
    model = AceStep.load(checkpoint, torch.device("cpu"), torch.float32)
    weight = model.pipeline.transformer.layers[0].mlp.gate_proj.weight
    assert 0.8 < float(weight.std() * 64**0.5) < 1.2
    assert "cover" in model.tasks
    assert model.defaults.steps == 8 and model.pipeline.is_turbo
    [track] = model.generate([Row(Text("beat"), 0.5, SamplingOptions(seed=1))])
    assert isinstance(track, np.ndarray) and track.shape == (2, 24_000)


def test_the_public_sizes_are_those_that_are_published() -> None:
    with torch.device("meta"):
        counts = {
            name: sum(parameter.numel() for parameter in sizes.transformer(size).parameters())
            for name, size in sizes.ACE_STEP.items()
        }
    assert round(counts["2B"] / 1e9, 3) == 1.575 and round(counts["XL"] / 1e9, 3) == 4.169
