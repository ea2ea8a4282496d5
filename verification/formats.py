"""Checks of the layouts, with tiny checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from models.ace_step import AceStep
from models.ace_step.checkpoint import load
from models.checkpoints import Checkpoint, CheckpointError
from models.memory import WHOLE
from verification.check import Bound, Check, Measured
from verification.random_checkpoints import TINY_ACE_STEP, build, to_original_layout
from verification.subject import Subject

_CPU = torch.device("cpu")
_AGAIN = "The installation is damaged, or diffusers is of another version than requirements/constraints.txt names"


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    pipeline, _ = load(Checkpoint(folder.name, folder, folder.name), _CPU, torch.float32, WHOLE)
    return {
        f"{part}.{name}": tensor
        for part in ("transformer", "condition_encoder")
        for name, tensor in getattr(pipeline, part).state_dict().items()
    }


def layouts_differ_in(subject: Subject) -> float:
    """The number of tensors that differ between diffusers' layout and the authors', loaded from the same weights."""
    folder = subject.work / "layouts"
    build(TINY_ACE_STEP, folder)
    one = _tensors(folder)
    (folder / "text_encoder").rename(folder / "Qwen3-Embedding-0.6B")
    for file in (folder / "tokenizer").iterdir():
        file.rename(folder / "Qwen3-Embedding-0.6B" / file.name)
    to_original_layout(folder, folder / "acestep-v15-turbo")
    other = _tensors(folder)
    return float(len(one.keys() ^ other.keys()) + sum(not torch.equal(one[name], other[name]) for name in one))


def loads_without_silence(subject: Subject) -> Measured:
    """How many of the checkpoints without a latent of silence, or with a flat one, are loaded."""
    folder, loaded, sentences = subject.work / "silent", 0, []
    build(TINY_ACE_STEP, folder)
    (file,) = (folder / "condition_encoder").glob("*.safetensors")
    whole = load_file(file)
    for silence in ({}, {"silence_latent": torch.zeros_like(whole["silence_latent"])}):
        others = {name: tensor for name, tensor in whole.items() if name != "silence_latent"}
        save_file(others | silence, file, {"format": "pt"})
        try:
            AceStep.load(Checkpoint("silent", folder, "0"), _CPU, torch.float32)
            loaded += 1
        except CheckpointError as error:
            sentences.append(str(error))
    return Measured(loaded, "; ".join(sentences))


CHECKS: Sequence[Check] = (
    Check("tensors that differ between the two layouts", layouts_differ_in, _AGAIN, Bound(high=0)),
    Check("checkpoints without silence_latent that load", loads_without_silence, _AGAIN, Bound(high=0)),
)
