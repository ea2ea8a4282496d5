"""ACE-Step checkpoints in every published layout, whole and damaged."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.ace_step import AceStep
from models.checkpoints import CheckpointError, resolve
from models.local_cache import cache_folder
from models.weight_files import stored_tensors, write_tensors
from tests import checkpoint_layouts as layouts
from tests.hub_server import files_of, hub, run_with_hub
from training.ace_step import AceStepTrainer

PARTS = ("transformer", "condition_encoder", "vae", "text_encoder", "audio_tokenizer", "audio_token_detokenizer")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _loaded(folder: Path) -> AceStep:
    return AceStep.load(resolve(str(folder), "ace_step", lambda _: None), torch.device("cpu"), torch.float32)


def _assert_same_weights(one: AceStep, other: AceStep) -> None:
    for part in PARTS:
        ours, theirs = (getattr(model.pipeline, part).state_dict() for model in (one, other))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), part


FORMS: dict[str, Callable[[Path], Path]] = {
    "the model's folder, the rest beside it": lambda folder: layouts.original_layout(folder),
    "the repository": lambda folder: layouts.original_layout(folder).parent,
    "shards": lambda folder: layouts.original_layout(folder, shards=3),
    "the rest within it": lambda folder: _moved_within(layouts.original_layout(folder)),
    "diffusers": layouts.diffusers_layout,
}


def _moved_within(model: Path) -> Path:
    for name in ("vae", layouts.TEXT_ENCODER):
        shutil.move(model.parent / name, model / name)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_weights(form: str, tmp_path: Path, model: AceStep) -> None:
    loaded = _loaded(FORMS[form](tmp_path / "given"))
    _assert_same_weights(loaded, model)
    assert loaded.defaults == model.defaults


@pytest.mark.slow
def test_it_is_converted_once_and_anew_when_it_changes(tmp_path: Path) -> None:
    folder = layouts.original_layout(tmp_path / "given")
    _loaded(folder)
    converted = list((cache_folder() / "converted").glob("*/transformer/*.safetensors"))
    made = converted[0].stat().st_mtime_ns
    _loaded(folder)
    assert [path.stat().st_mtime_ns for path in converted] == [made]
    layouts.changed(folder / "model.safetensors", null_condition_emb=torch.ones(1, 1, 32))
    assert _loaded(folder).pipeline.condition_encoder.null_condition_emb.eq(1).all()


def test_the_silence_latent_identifies_the_checkpoint(tmp_path: Path) -> None:
    folder = layouts.original_layout(tmp_path / "given")
    before = resolve(str(folder), "ace_step", lambda _: None).sha256
    torch.save(torch.randn(1, 8, 15000), folder / "silence_latent.pt")
    assert resolve(str(folder), "ace_step", lambda _: None).sha256 != before


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["Ace-Step1.5", "acestep-v15-turbo-shift1"])
def test_a_hub_id(variant: str, tmp_path: Path) -> None:
    """The whole repository, and a single variant, whose other parts are in the whole repository."""
    folder = layouts.original_layout(tmp_path / "given")
    shared = {name: data for name, data in files_of(folder.parent).items() if not name.endswith(".lock")}
    single = {"ACE-Step/acestep-v15-turbo-shift1": files_of(folder)}
    code = (
        "import torch; from models.ace_step import AceStep; from models.checkpoints import resolve\n"
        f"checkpoint = resolve('ACE-Step/{variant}', 'ace_step', print)\n"
        "model = AceStep.load(checkpoint, torch.device('cpu'), torch.float32)\n"
        "print(model.defaults.shift, model.pipeline.is_turbo)"
    )
    with hub({"ACE-Step/Ace-Step1.5": shared} | single) as endpoint:
        done = run_with_hub(endpoint, tmp_path / "home", code)
    assert done.stdout.split() == ["1.0" if "shift1" in variant else "3.0", "True"], done.stderr
    assert run_with_hub(endpoint, tmp_path / "home", code).stdout == done.stdout, "without the hub, from what is there"


@pytest.mark.slow
def test_a_checkpoint_in_diffusers_layout_needs_no_silence_file(tmp_path: Path) -> None:
    """Converters leave a copy of it there, which installations without a network may lack."""
    files = files_of(layouts.diffusers_layout(tmp_path / "given")) | {"silence_latent.pt": b"a copy"}
    code = (
        "import torch; from models.ace_step import AceStep; from models.checkpoints import resolve\n"
        "checkpoint = resolve('someone/model', 'ace_step', print)\n"
        "AceStep.load(checkpoint, torch.device('cpu'), torch.float32)\n"
        "print(*(path.name for path in checkpoint.folder.glob('*.pt')))"
    )
    with hub({"someone/model": files}) as endpoint:
        done = run_with_hub(endpoint, tmp_path / "home", code)
    assert done.returncode == 0 and not done.stdout.split(), done.stderr


VARIANTS: dict[str, tuple[dict[str, Any], tuple[int, float, float, bool]]] = {
    "acestep-v15-turbo": ({"is_turbo": True}, (8, 3.0, 1.0, False)),
    "acestep-v15-turbo-shift1": ({"is_turbo": True}, (8, 1.0, 1.0, False)),
    "acestep-v15-turbo-shift3": ({"is_turbo": True}, (8, 3.0, 1.0, False)),
    "acestep-v15-turbo-continuous": ({"is_turbo": None, "model_version": "turbo"}, (8, 3.0, 1.0, False)),
    "acestep-v15-xl-turbo": ({"is_turbo": None}, (8, 3.0, 1.0, False)),
    "acestep-v15-base": ({"is_turbo": False}, (50, 1.0, 7.0, True)),
    "acestep-v15-sft": ({"is_turbo": None, "model_version": "sft"}, (50, 1.0, 7.0, True)),
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_defaults_of_a_variant(variant: str, tmp_path: Path) -> None:
    settings, (steps, shift, guidance, guided) = VARIANTS[variant]
    model = _loaded(layouts.original_layout(tmp_path / "given", variant, **settings))
    defaults = model.defaults
    assert (defaults.steps, defaults.shift, defaults.guidance, defaults.guided) == (steps, shift, guidance, guided)
    trainer = AceStepTrainer(model)
    assert trainer.turbo is not guided
    times = {round(trainer._time(torch.Generator().manual_seed(seed)), 4) for seed in range(200)}
    if guided:
        assert len(times) > 100
    else:
        sampled = [1 - step / 8 for step in range(8)]
        assert times == {round(shift * t / (1 + (shift - 1) * t), 4) for t in sampled}


def _flat(folder: Path) -> None:
    torch.save(torch.zeros(1, 8, 15000), folder / "silence_latent.pt")


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def _cut(file: str, size: int = -100) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / file
        path.write_bytes(path.read_bytes()[:size])

    return damage


def _without(file: str, tensor: str) -> Callable[[Path], None]:
    return lambda folder: layouts.changed(folder / file, **{tensor: None})


def _pickled(file: str, pickled: str) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        path = folder / file
        torch.save(load_file(path), path.with_name(pickled))
        path.unlink()

    return save


def _config(**settings: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return damage


QUERY = "decoder.layers.1.self_attn.q_proj.weight"
TEXT = f"../{layouts.TEXT_ENCODER}"
DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no silence": (lambda folder: (folder / "silence_latent.pt").unlink(), "no silence_latent.pt, without which"),
    "flat silence": (_flat, "silence_latent is flat"),
    "silence with code": (lambda f: torch.save(_Code(), f / "silence_latent.pt"), "holds code"),
    "half a silence": (_cut("silence_latent.pt"), "silence_latent.pt cannot be read"),
    "short silence": (
        lambda f: torch.save(torch.randn(1, 8, 70), f / "silence_latent.pt"),
        "silence_latent is \\[1, 70, 8\\], and its config.json asks for \\[1, 15000, 8\\]",
    ),
    "a missing tensor": (_without("model.safetensors", QUERY), "lacks the tensor layers.1.self_attn.to_q.weight;"),
    "a tensor too many": (
        lambda f: layouts.changed(f / "model.safetensors", **{"decoder.layers.2.mlp.up_proj.weight": torch.ones(2)}),
        "layers.2.mlp.up_proj.weight, which has no place",
    ),
    "half an audio tokenizer": (
        _without("model.safetensors", "tokenizer.quantizer.project_in.weight"),
        "lacks the tensor quantizer.project_in.weight",
    ),
    "an unknown part": (
        lambda f: layouts.changed(f / "model.safetensors", **{"lm.weight": torch.ones(2)}),
        "lm.weight in model.safetensors has no place",
    ),
    "another width": (_config(hidden_size=32), r"the tensor .* is \[.*64.*\], and its config.json asks for"),
    "half a file": (_cut("model.safetensors"), "acestep-v15-turbo/model.safetensors is truncated"),
    "half a header": (_cut("model.safetensors", 100), "model.safetensors is truncated"),
    "no weights": (_cut("model.safetensors", 4), "model.safetensors is not a safetensors file"),
    "no configuration": (_cut("config.json"), "not an ACE-Step checkpoint"),
    "no vae": (lambda folder: shutil.rmtree(folder / "../vae"), "no folder vae in it or beside it"),
    "no text encoder": (lambda folder: shutil.rmtree(folder / TEXT), f"no folder {layouts.TEXT_ENCODER}"),
    "half a text encoder": (_cut(f"{TEXT}/model.safetensors"), "Qwen3-Embedding-0.6B/model.safetensors is truncated"),
    "a text encoder cut short": (
        _without(f"{TEXT}/model.safetensors", "layers.1.mlp.up_proj.weight"),
        "Qwen3-Embedding-0.6B lacks the tensor layers.1.mlp.up_proj.weight",
    ),
    "pickled weights": (_pickled("model.safetensors", "pytorch_model.bin"), "acestep-v15-turbo/pytorch_model.bin is a"),
    "a pickled text encoder": (
        _pickled(f"{TEXT}/model.safetensors", "pytorch_model.bin"),
        "Qwen3-Embedding-0.6B/pytorch_model.bin is a pickle, which is not read here; save it as safetensors",
    ),
    "half a vae": (_cut("../vae/diffusion_pytorch_model.safetensors"), "vae/diffusion_pytorch_model.* is truncated"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_is_named_in_one_sentence(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    damage, reason = DAMAGED[kind]
    folder = layouts.original_layout(tmp_path / "given")
    damage(folder)
    with pytest.raises(CheckpointError, match=reason) as caught:
        _loaded(folder)
    assert str(caught.value).startswith(str(folder)) and "\n" not in str(caught.value)
    assert not list((cache_folder() / "converted").glob("*.part")) and "run" not in capfd.readouterr().out


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = layouts.original_layout(tmp_path / "given", shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00003\.safetensors is missing"):
        _loaded(folder)


DAMAGED_DIFFUSERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no silence": (
        _without("condition_encoder/diffusion_pytorch_model.safetensors", "silence_latent"),
        "no silence_latent, without which",
    ),
    "flat silence": (
        lambda f: layouts.changed(
            f / "condition_encoder/diffusion_pytorch_model.safetensors", silence_latent=torch.zeros(1, 15000, 8)
        ),
        "silence_latent is flat",
    ),
    "a missing tensor": (
        _without("transformer/diffusion_pytorch_model.safetensors", "norm_out.weight"),
        "transformer lacks the tensor norm_out.weight",
    ),
    "half a file": (
        _cut("transformer/diffusion_pytorch_model.safetensors"),
        "transformer/diffusion_pytorch_model.safetensors is truncated",
    ),
    "a text encoder cut short": (
        _without("text_encoder/model.safetensors", "layers.1.mlp.up_proj.weight"),
        "text_encoder lacks the tensor",
    ),
    "a pickled part": (
        _pickled("transformer/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
        "transformer/diffusion_pytorch_model.bin is a pickle, which is not read here; save it as safetensors",
    ),
    "no vae": (lambda folder: shutil.rmtree(folder / "vae"), "vae"),
}


@pytest.mark.parametrize("kind", DAMAGED_DIFFUSERS)
def test_damage_in_diffusers_layout_is_named(kind: str, tmp_path: Path) -> None:
    damage, reason = DAMAGED_DIFFUSERS[kind]
    folder = layouts.diffusers_layout(tmp_path / "given")
    damage(folder)
    with pytest.raises(CheckpointError, match=reason) as caught:
        _loaded(folder)
    assert "\n" not in str(caught.value)


def test_several_models_in_one_folder_are_listed(tmp_path: Path) -> None:
    first = layouts.original_layout(tmp_path / "given")
    shutil.copytree(first, first.with_name("acestep-v15-base"))
    with pytest.raises(CheckpointError, match=r"several models \(acestep-v15-base, acestep-v15-turbo\)"):
        _loaded(first.parent)
    assert not _loaded(first).defaults.guided


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_without_an_audio_tokenizer_there_are_no_covers(layout: str, tmp_path: Path) -> None:
    if layout == "original":
        folder = layouts.original_layout(tmp_path / "given")
        names = load_file(folder / "model.safetensors")
        halves = {name: None for name in names if name.startswith(("tokenizer.", "detokenizer."))}
        layouts.changed(folder / "model.safetensors", **halves)
    else:
        folder = layouts.diffusers_layout(tmp_path / "given")
        shutil.rmtree(folder / "audio_tokenizer")
    assert _loaded(folder).tasks == {"text", "repaint", "extend"}


def test_a_wider_transformer_than_its_encoder(tmp_path: Path, model: AceStep) -> None:
    """As XL: the encoder's sizes are settings of their own."""
    config = json.loads((layouts.original_layout(tmp_path / "given") / "config.json").read_text())
    assert (config["hidden_size"], config["encoder_hidden_size"]) == (64, 32)
    assert load_file(tmp_path / "given/acestep-v15-turbo/model.safetensors")[
        "decoder.condition_embedder.weight"
    ].shape == (64, 32)


def test_a_file_that_becomes_shorter_while_it_is_converted_is_named(tmp_path: Path) -> None:
    model = layouts.original_layout(tmp_path / "given")
    tensors = stored_tensors(model)
    _cut("model.safetensors")(model)
    with pytest.raises(CheckpointError, match=r"acestep-v15-turbo/model\.safetensors became shorter"):
        write_tensors(tmp_path / "new.safetensors", tensors)


@pytest.mark.parametrize("offsets", [[4, 0], [-8, 4]])
def test_a_tensor_that_ends_before_it_begins_is_no_tensor(tmp_path: Path, offsets: list[int]) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        stored_tensors(tmp_path)
