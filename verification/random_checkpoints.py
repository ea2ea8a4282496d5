"""Builds checkpoints of the public sizes and layouts with random weights, where the real ones cannot be had."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from models import malloc
from models.ace_step.layout import TEXT_ENCODER
from models.ace_step.original import ENCODER_PREFIX, NAMES, PREFIXES, SILENCE_FILE
from models.checkpoints import Checkpoint
from models.tiny import ace_step as tiny_ace_step
from models.tiny import musicgen as tiny_musicgen
from models.weight_files import StoredTensor, stored_tensors, write_tensors
from verification import sizes

TINY_ACE_STEP, TINY_MUSICGEN = "tiny-ace-step", "tiny-musicgen"
NAMES_OF_SIZES = (*sizes.ACE_STEP, *sizes.MUSICGEN, TINY_ACE_STEP, TINY_MUSICGEN)

_SEED = 20_261_129
_SILENCE = "silence_latent"
# Random numbers that are repeated; a prime, so that no row of a weight is that of another.
_NUMBERS = 4_194_301
# Small parts, and parts with tensors that are computed when they are made.
_INITIALISED = ("audio_tokenizer", "audio_token_detokenizer", "vae")
# Settings of the condition encoder that the authors' config.json has under names of their own.
_ENCODER_SETTINGS = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")


def build(name: str, folder: Path) -> Checkpoint:
    """Build the checkpoint of that name in a new folder."""
    torch.manual_seed(_SEED)
    folder.mkdir(parents=True)
    if name in sizes.ACE_STEP:
        _ace_step(sizes.ACE_STEP[name], folder)
    elif name in sizes.MUSICGEN:
        _musicgen(folder)
    elif name == TINY_ACE_STEP:
        tiny_ace_step.build(folder)
    else:
        tiny_musicgen.build(folder)
    malloc.trim()
    return Checkpoint(f"random {name}", folder, sha256(str(folder).encode()).hexdigest())


def _ace_step(size: sizes.AceStepSize, folder: Path) -> None:
    """The authors' layout, in bfloat16 as published."""
    parts: dict[str, Callable[[], Any]] = {
        "transformer": lambda: sizes.transformer(size),
        "condition_encoder": sizes.condition_encoder,
        "audio_tokenizer": sizes.audio_tokenizer,
        "audio_token_detokenizer": sizes.audio_token_detokenizer,
        "vae": sizes.vae,
        TEXT_ENCODER: sizes.text_encoder,
    }
    for name, make in parts.items():
        module = make().to(torch.bfloat16) if name in _INITIALISED else _filled(make)
        module.save_pretrained(folder / name)
        del module
    tiny_ace_step.build(folder / "tiny")
    shutil.copytree(folder / "tiny" / "tokenizer", folder / TEXT_ENCODER, dirs_exist_ok=True)
    shutil.rmtree(folder / "tiny")
    to_original_layout(folder, folder / size.variant)


def _filled(make: Callable[[], Any]) -> Any:
    """The module with random weights that keep the scale of their inputs; layers' own initialisation takes minutes."""
    with sizes.in_bfloat16(), torch.device("meta"):
        module = make()
    module.to_empty(device="cpu")
    numbers = torch.randn(_NUMBERS).to(torch.bfloat16)
    for name, tensor in module.state_dict().items():
        if tensor.ndim < 2:
            tensor.fill_(float(name.endswith("weight")))  # of norms; biases are 0
            continue
        scale = 1.0 if name == _SILENCE else (tensor.numel() / len(tensor)) ** -0.5
        for part in tensor.view(-1).split(_NUMBERS):
            torch.mul(numbers[: len(part)], scale, out=part)
    return module


def _musicgen(folder: Path) -> None:
    tiny_musicgen.build(folder)  # for its tokenizer and its generation config
    weights = sizes.musicgen_small()
    tiny_musicgen.spread(weights)
    vocabulary = weights.config.decoder.vocab_size
    generation = json.loads((folder / "generation_config.json").read_text())
    generation |= dict.fromkeys(("bos_token_id", "pad_token_id", "decoder_start_token_id"), vocabulary)
    weights.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(generation))


def to_original_layout(source: Path, model: Path) -> None:
    """Move the parts of `PREFIXES` from diffusers' layout in `source` to the authors' layout in `model`."""
    model.mkdir()
    tensors: dict[str, StoredTensor] = {}
    settings: dict[str, Any] = {}
    for prefix, part in PREFIXES.items():
        config = json.loads((source / part / "config.json").read_text())
        if part == "condition_encoder":
            config |= {ENCODER_PREFIX + name: config[name] for name in _ENCODER_SETTINGS}
        settings = {**config, **settings}
        for name, tensor in stored_tensors(source / part).items():
            if name == _SILENCE:
                silence = tensor
                continue
            whole = name if name == "null_condition_emb" else prefix + name
            for theirs, ours in NAMES.items():
                whole = whole.replace(ours, theirs)
            tensors[whole] = tensor
    (model / "config.json").write_text(
        json.dumps({name: value for name, value in settings.items() if name[0] != "_" and value is not None})
    )
    write_tensors(model / "model.safetensors", tensors)
    latent = load_file(silence.file)[_SILENCE]
    torch.save(latent.transpose(1, 2).contiguous(), model / SILENCE_FILE)
    for part in PREFIXES.values():
        shutil.rmtree(source / part)
