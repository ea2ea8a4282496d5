"""Models and adapters with random weights, wide enough that arithmetic dominates as in the real models."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import AceStepPipeline
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import MusicgenForCausalLM

from adapters.adapter_file import Header
from adapters.weights import AdapterWeights, LoraPair, linear_layers
from models.ace_step import AceStep
from models.checkpoints import Checkpoint
from models.musicgen import MusicGen
from models.tiny import ace_step as tiny_ace_step
from models.tiny import musicgen as tiny_musicgen

HIDDEN, LAYERS, RANK = 1024, 4, 16
DIT_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
DIT_MLP = ("gate_proj", "up_proj", "down_proj")
DECODER_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")


def dit(hidden: int = HIDDEN, layers: int = LAYERS, condition: int = HIDDEN, latent: int = 64) -> Any:
    """ACE-Step's transformer with random weights."""
    torch.manual_seed(0)
    model = AceStepTransformer1DModel(
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 128,
        head_dim=64,
        in_channels=3 * latent,
        audio_acoustic_hidden_dim=latent,
        encoder_hidden_size=condition,
        is_turbo=True,
    )
    return model.eval().requires_grad_(False)


def save_ace_step(folder: Path) -> None:
    """Save a checkpoint with a wide transformer and tiny other parts."""
    tiny_ace_step.build(folder)
    pipeline = AceStepPipeline.from_pretrained(folder)
    pipeline.transformer = dit(condition=32, latent=8)
    pipeline.save_pretrained(folder, safe_serialization=True)


def ace_step() -> AceStep:
    with TemporaryDirectory() as folder:
        save_ace_step(Path(folder))
        return AceStep.load(Checkpoint("wide", Path(folder), "0"), torch.device("cpu"), torch.float32)


def musicgen() -> MusicGen:
    """MusicGen with a wide decoder and tiny other parts."""
    with TemporaryDirectory() as folder:
        tiny_musicgen.build(Path(folder))
        model = MusicGen.load(Checkpoint("wide", Path(folder), "0"), torch.device("cpu"), torch.float32)
    config = model.model.config.decoder
    config.hidden_size, config.num_hidden_layers, config.ffn_dim = HIDDEN, LAYERS, 4 * HIDDEN
    config.num_attention_heads, config.vocab_size = HIDDEN // 64, 2048
    config.pad_token_id = config.bos_token_id = 2048
    torch.manual_seed(0)
    model.model.decoder = MusicgenForCausalLM(config).eval().requires_grad_(False)
    model.model.enc_to_dec_proj = torch.nn.Linear(64, HIDDEN).requires_grad_(False)
    generation = model.model.generation_config
    generation.pad_token_id = generation.bos_token_id = generation.decoder_start_token_id = 2048
    return model


def adapter(root: torch.nn.Module, backend: str, targets: tuple[str, ...], seed: int) -> AdapterWeights:
    """Rank-16 pairs on the layers of those names."""
    generator = torch.Generator().manual_seed(seed)
    pairs = {
        name: LoraPair(
            torch.randn(layer.in_features, RANK, generator=generator).to(layer.weight.dtype) * 0.02,
            torch.randn(RANK, layer.out_features, generator=generator).to(layer.weight.dtype) * 0.02,
        )
        for name, layer in linear_layers(root).items()
        if name.endswith(targets) and "layers." in name
    }
    header = Header("p", str(seed), backend, "wide", "0", RANK, "job", "2026-01-01T00:00:00+00:00", str(seed))
    return AdapterWeights(header, pairs)


def in_peft(root: Any, adapters: list[AdapterWeights], targets: tuple[str, ...]) -> PeftModel:
    """The model with the adapters as PEFT's `twin0`, `twin1`, …"""
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(targets))
    model = get_peft_model(root, config, adapter_name="twin0")
    for number in range(1, len(adapters)):
        model.add_adapter(f"twin{number}", config)
    layers = dict(model.base_model.model.named_modules())
    for number, weights in enumerate(adapters):
        for name, pair in weights.pairs.items():
            layers[f"{name}.lora_A.twin{number}"].weight.data.copy_(pair.a.T)
            layers[f"{name}.lora_B.twin{number}"].weight.data.copy_(pair.b.T)
    return model.eval().requires_grad_(False)
