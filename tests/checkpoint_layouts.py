"""Tiny ACE-Step checkpoints in every layout in which real ones are published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from models.tiny import ace_step as tiny

TEXT_ENCODER = "Qwen3-Embedding-0.6B"
# diffusers' name of a module → the authors'.
_NAMES = {
    ".to_q.": ".q_proj.",
    ".to_k.": ".k_proj.",
    ".to_v.": ".v_proj.",
    ".to_out.0.": ".o_proj.",
    ".norm_q.": ".q_norm.",
    ".norm_k.": ".k_norm.",
    "proj_in_conv.": "proj_in.1.",
    "proj_out_conv.": "proj_out.1.",
}


def diffusers_layout(folder: Path) -> Path:
    """What diffusers' `save_pretrained` writes."""
    tiny.build(folder)
    return folder


def original_layout(
    folder: Path, variant: str = "acestep-v15-turbo", shards: int = 1, beside: bool = True, **settings: Any
) -> Path:
    """The authors' layout, with the same weights as `diffusers_layout`. Returns the model's folder.

    Args:
        folder: gets the model's folder, `vae` and the text encoder, as in the authors' repository.
        variant: the model's folder.
        shards: number of weight files.
        beside: with `vae` and the text encoder; without them as in the repository of a single variant.
        settings: replace those of its `config.json`; None removes one.
    """
    source = diffusers_layout(folder / "source")
    model = folder / variant
    model.mkdir()
    config, encoder = (
        json.loads((source / part / "config.json").read_text()) for part in ("transformer", "condition_encoder")
    )
    own = {
        f"encoder_{name}": encoder[name]
        for name in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    }
    # The rest of the encoder's settings cannot be told apart from the transformer's in the authors' file.
    assert all(encoder[name] == config[name] for name in ("head_dim", "rope_theta", "sliding_window"))
    tokenizer = json.loads((source / "audio_tokenizer" / "config.json").read_text())
    own |= {name: tokenizer[name] for name in ("fsq_dim", "pool_window_size", "num_attention_pooler_hidden_layers")}
    merged = {**encoder, **config, **own, "layer_types": ["sliding_attention", "full_attention"], **settings}
    plain = {name: value for name, value in merged.items() if value is not None and not name.startswith("_")}
    (model / "config.json").write_text(json.dumps(plain))
    tensors = original_tensors(source)
    silence = tensors.pop("silence_latent")
    torch.save(silence.transpose(1, 2).contiguous(), model / "silence_latent.pt")
    write_shards(model, tensors, shards)
    if beside:
        shutil.copytree(source / "vae", folder / "vae")
        shutil.copytree(source / "text_encoder", folder / TEXT_ENCODER)
        shutil.copytree(source / "tokenizer", folder / TEXT_ENCODER, dirs_exist_ok=True)
    shutil.rmtree(source)
    return model


def original_tensors(source: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint in diffusers' layout by the authors' names."""
    tensors: dict[str, torch.Tensor] = {}
    for prefix, part in (
        ("decoder.", "transformer"),
        ("encoder.", "condition_encoder"),
        ("tokenizer.", "audio_tokenizer"),
        ("detokenizer.", "audio_token_detokenizer"),
    ):
        for name, tensor in load_file(source / part / "diffusion_pytorch_model.safetensors").items():
            whole = name if name in ("null_condition_emb", "silence_latent") else prefix + name
            for ours, theirs in _NAMES.items():
                whole = whole.replace(ours, theirs)
            tensors[whole] = tensor
    return tensors


def write_shards(model: Path, tensors: Mapping[str, torch.Tensor], count: int) -> None:
    """Write `model.safetensors`, or that many files with an index."""
    names = sorted(tensors)
    if count == 1:
        save_file({name: tensors[name].contiguous() for name in names}, model / "model.safetensors", {"format": "pt"})
        return
    index: dict[str, str] = {}
    for number in range(count):
        file = f"model-{number + 1:05}-of-{count:05}.safetensors"
        part = {name: tensors[name].contiguous() for name in names[number::count]}
        save_file(part, model / file, {"format": "pt"})
        index |= dict.fromkeys(part, file)
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def changed(file: Path, **tensors: torch.Tensor | None) -> None:
    """Replace tensors of a safetensors file; None removes one."""
    old = load_file(file)
    new = {name: tensor for name, tensor in (old | tensors).items() if tensor is not None}
    save_file(new, file, {"format": "pt"})
