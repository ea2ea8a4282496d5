"""MusicGen-melody: the codes are those of transformers' `generate`, row by row."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from contract import SamplingOptions
from models.base import Edit, Recording, Row, Text
from models.checkpoints import Checkpoint
from models.musicgen import MusicGen
from models.offloading import offload
from models.tiny import musicgen_melody as tiny
from tests.unit.models.musicgen.support import ONE_STEP, PROMPT, adapter, play, tokens
from training.loop import train
from training.musicgen import MusicGenTrainer

RATE = 32_000


@pytest.fixture(scope="module")
def melody(tmp_path_factory: pytest.TempPathFactory) -> MusicGen:
    folder = tmp_path_factory.mktemp("melody")
    tiny.build(folder)
    return MusicGen.load(Checkpoint("melody", folder, "0"), torch.device("cpu"), torch.float32)


def tune(seconds: float, *pitches: float) -> NDArray[np.float32]:
    """A tone of each pitch in turn, `[1, samples]`."""
    time = np.arange(round(seconds / len(pitches) * RATE)) / RATE
    tones = [0.4 * np.sin(2 * np.pi * pitch * time) for pitch in pitches]
    return np.concatenate(tones)[None].astype(np.float32)


def along(recording: NDArray[np.float32], seconds: float, text: Text = PROMPT, **options: Any) -> Row:
    edit = Edit("melody", Recording(recording, str(recording.sum())), 0.0, seconds)
    return Row(text, seconds, SamplingOptions(**({"seed": 1} | options)), edit=edit)


def codes_of(model: MusicGen, row: Row) -> torch.Tensor:
    run = model.begin(row)
    while run.steps_left:
        for _ in model.batch([run]).step():
            pass
    return run.codes


def stock_codes(model: MusicGen, monkeypatch: pytest.MonkeyPatch, **inputs: Any) -> torch.Tensor:
    """The codes `[K, T]` that transformers gives to EnCodec."""
    heard: list[torch.Tensor] = []
    decode = model.codec.decode

    def overhear(chunks: torch.Tensor, *rest: Any, **names: Any) -> Any:
        heard.append(chunks[0, 0])
        return decode(chunks, *rest, **names)

    monkeypatch.setattr(model.codec, "decode", overhear)
    model.model.generate(**tokens(model), guidance_scale=3.0, max_new_tokens=43, **inputs)
    return heard[0]


@pytest.mark.parametrize("seconds", [0.9, 3.0])
def test_codes_are_those_of_stock_generate(melody: MusicGen, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Of a melody that is repeated, and of one that is cut, to the length of the training's."""
    assert melody.tasks == {"text", "extend", "melody"} and melody.melody
    recording = tune(seconds, 220, 330, 262)
    features = melody.melody.extractor(recording[0], sampling_rate=RATE, return_tensors="pt")
    expected = stock_codes(melody, monkeypatch, input_features=features.input_features, do_sample=False)
    assert torch.equal(codes_of(melody, along(recording, 0.8, temperature=0)), expected)


def test_drawn_codes_are_those_of_stock_generate(melody: MusicGen, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    expected = stock_codes(melody, monkeypatch, do_sample=True, top_k=250)
    assert torch.equal(codes_of(melody, Row(PROMPT, 0.8, SamplingOptions(seed=7))), expected)


def test_the_melody_acts(melody: MusicGen) -> None:
    one, other = (along(tune(1, pitch), 0.5, temperature=0) for pitch in (220, 330))
    text = Row(PROMPT, 0.5, SamplingOptions(seed=1, temperature=0))
    codes = [codes_of(melody, row) for row in (one, other, text)]
    assert not torch.equal(codes[0], codes[1]) and not torch.equal(codes[0], codes[2])


def test_a_row_is_the_same_alone_and_among_strangers(melody: MusicGen) -> None:
    twin = [(adapter(melody, 4, 1), 1.0)]
    rows = [
        along(tune(1, 220, 330), 0.5),
        Row(Text("a much longer prompt about warm keys " * 3), 0.8, SamplingOptions(seed=2, guidance=1.5)),
        along(tune(2, 262), 0.31, Text("x"), seed=3),
        Row(PROMPT, 0.4, SamplingOptions(seed=4), adapters=twin),
    ]
    together = play(melody, *rows)
    for row, track in zip(rows, together, strict=True):
        assert np.abs(play(melody, row)[0] - track).max() <= ONE_STEP
    assert np.abs(together[3] - play(melody, Row(PROMPT, 0.4, SamplingOptions(seed=4)))[0]).max() > 0.01


@pytest.mark.slow
def test_a_twin_of_a_melody_checkpoint_is_trained(melody: MusicGen) -> None:
    trainer = MusicGenTrainer(melody)
    example = trainer.example(tune(2, 220, 330), PROMPT)
    recipe = replace(trainer.recipe(2.0), steps=20, batch=1, warmup=2)
    losses: list[float] = []
    pairs = train(trainer, melody.adapted, [example], recipe, lambda _, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < losses[0] - 0.5 and len(pairs) == 3 * 4


def test_the_melody_goes_on_in_later_windows(melody: MusicGen) -> None:
    """A window of 1 s takes over 0.4 s; the second one hears the recording from 0.6 s on."""
    short = copy.copy(melody)
    short.model = copy.copy(melody.model)
    short.model.decoder = copy.copy(melody.model.decoder)
    short.model.decoder.config = copy.deepcopy(melody.model.decoder.config)
    short.model.decoder.config.max_position_embeddings = 50 + 4
    first, late = tune(0.6, 220), tune(1.0, 330)
    changed = np.concatenate([first, late], axis=1), np.concatenate([first, tune(1.0, 440)], axis=1)
    rows = [along(recording, 1.5, temperature=0) for recording in changed]
    codes = [codes_of(short, row) for row in rows]
    assert short.melody
    prefixes = [short.token_row(row).prefixes for row in rows]
    assert len(prefixes[0]) == 2 and not torch.equal(prefixes[0][1][0], prefixes[1][1][0])
    assert codes[0].shape == (4, 75) and not torch.equal(codes[0][:, 50:], codes[1][:, 50:])


def test_a_melody_is_encoded_where_the_decoder_is(tmp_path: Path) -> None:
    tiny.build(tmp_path)
    offloaded = MusicGen.load(Checkpoint("melody", tmp_path, "0"), torch.device("cpu"), torch.float32)
    for name, part in offloaded.model.named_children():
        if name != "text_encoder":
            part.to("meta")
    offload([offloaded.model.get_submodule("text_encoder")], torch.device("meta"))
    assert offloaded.melody
    text = torch.empty(3, offloaded.model.decoder.config.hidden_size, device="meta")
    [prefix] = offloaded.melody.prefixes(text, tune(0.6, 220), [0])
    assert prefix.device.type == "meta"
