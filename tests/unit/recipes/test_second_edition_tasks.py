"""The tasks on the second edition's latents in small: pieces, examples, a step of training, and the checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AceStepPipeline

from models.traits import Traits
from recipes.first_edition.ace_step.model import Starter
from recipes.first_edition.ace_step.tasks import training
from recipes.first_edition.ace_step.tasks.audio_tokens import DETOKENIZER, TOKENIZER, AudioTokens
from recipes.first_edition.ace_step.tasks.pieces import load_piece
from recipes.first_edition.ace_step.tasks.prompts import instruction
from recipes.first_edition.clips import SONGS_PER_SHARD, Library
from recipes.first_edition.state import Checkpoints
from recipes.first_edition.training import start_over
from recipes.second_edition.codec.analysis import load_analysis
from recipes.second_edition.codec.architecture import LATENT, NOISE, build_codec
from recipes.second_edition.codec.assembly import load_codec
from recipes.second_edition.model import tasks
from recipes.second_edition.model.clips import SHAPE, Equaliser, load_corpus
from recipes.second_edition.model.tasks import CORPUS_TASKS, corpus_example, draw_mixed, task_starter
from recipes.second_edition.model.training import STATE, build_tokenizer
from tests.unit.recipes.second_edition import corpus_folder

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of one noise, pieces, an untrained codec, starter and audio tokens."""
    folder = corpus_folder(tmp_path_factory.mktemp("runs"))
    tasks.encode_pieces(folder, SONGS_PER_SHARD, SONGS_PER_SHARD)
    torch.manual_seed(0)
    tokens = AudioTokens(SHAPE)
    tokens.tokenizer.save_pretrained(folder / TOKENIZER)
    tokens.detokenizer.save_pretrained(folder / DETOKENIZER)
    start_over(folder / STATE, Starter(build_tokenizer(folder), shape=SHAPE))
    codec = build_codec()
    for part in ("encoder", "decoder"):
        Checkpoints(folder / f"{part}.pt").save({"average": getattr(codec, part).state_dict()})
    return folder


@pytest.fixture(scope="module")
def equaliser(runs: Path) -> Equaliser:
    return Equaliser(load_analysis(runs / "latents.safetensors"))


def test_pieces_have_noise_and_stems(runs: Path) -> None:
    pieces = Library(runs / tasks.PIECES, load_piece).clips
    assert {piece.frames.shape[1] for piece in pieces} == {LATENT}
    assert any(piece.stems for piece in pieces) and any(piece.sibling is not None for piece in pieces)
    noise = torch.cat([piece.frames[:, LATENT - NOISE :] for piece in pieces]).float()
    assert noise.std() == pytest.approx(1, abs=0.05)


def test_clips_of_the_corpus_are_examples_of_the_tasks_without_stems(runs: Path, equaliser: Equaliser) -> None:
    clip = load_corpus(runs)[0][0]
    for task in CORPUS_TASKS:
        row = corpus_example(clip, task, SHAPE.frames(6.0), equaliser, np.random.default_rng(0))
        assert row.latents.shape == (SHAPE.frames(6.0), LATENT)
        assert instruction(task) in row.prompt
        assert (row.source is None) == (task == "text")
        assert (row.window.min() == 1) == (task in ("text", "cover"))


def test_batches_mix_songs_and_the_corpus_in_one_length(runs: Path, equaliser: Equaliser) -> None:
    library, (corpus, _) = Library(runs / tasks.PIECES, load_piece), load_corpus(runs)
    styles = set()
    for seed in range(8):
        rows = draw_mixed(library, corpus, equaliser, np.random.default_rng(seed), covers=True)
        assert len({row.latents.shape for row in rows}) == 1
        styles |= {"orchest" in row.prompt or "symphonic" in row.prompt for row in rows}
    assert styles == {True, False}


def test_the_instructions_are_single_tokens_after_the_known_ones(runs: Path) -> None:
    known, starter = build_tokenizer(runs), task_starter(runs)
    assert known.get_vocab().items() < starter.tokenizer.get_vocab().items()
    assert len(starter.tokenizer) == len(starter.text_encoder.get_input_embeddings().weight)


def test_training_starts_from_the_model_and_packs_what_diffusers_loads(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.first_edition.ace_step.tasks.examples.SECONDS_PER_STEP", 40.0)
    monkeypatch.setattr(training, "validate", lambda *_: {})
    before = torch.load(runs / STATE, weights_only=True)["average"]
    tasks.train_all_tasks(runs, 1, 1e-3, None)
    weights = torch.load(runs / training.STATE, weights_only=True)["weights"]
    name = "transformer.proj_in_conv.weight"
    assert 0 < (weights[name] - before[name]).abs().max() < 0.01
    tasks.pack(runs, tmp_path / "packed")
    assert Traits.of(tmp_path / "packed").level_channels == SHAPE.levels
    pipeline = AceStepPipeline.from_pretrained(tmp_path / "packed", dtype=torch.float32)
    source = 0.1 * torch.randn(1, 48_000)
    options = {"prompt": "piano", "lyrics": "", "num_inference_steps": 2, "src_audio": source}
    for task in ("repaint", "cover"):
        audio = pipeline(
            task_type=task, reference_audio=source, repainting_start=0.5, repainting_end=1.0, **options
        ).audios
        assert torch.isfinite(audio).all()
        assert audio.shape == (1, 1, 48_000)


def test_a_codec_without_its_encoder_is_refused(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "decoder.pt").symlink_to(runs / "decoder.pt")
    with pytest.raises(FileNotFoundError, match="encoder"):
        load_codec(tmp_path)
