"""MusicGen rows written together, against transformers' `generate` and against themselves alone; and training."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import EncodecModel, MusicgenForConditionalGeneration

from adapters.adapter_file import PREFIX, Header, InvalidAdapter
from adapters.lora_rows import blend
from adapters.tensors import AdapterWeights, LoraPair, decode, encode, linear_layers
from models.base import Row, Text, completed
from models.checkpoints import Checkpoint, CheckpointError, resolve
from models.loudness import PEAK
from models.musicgen import MusicGen, audio
from models.musicgen.audiocraft import CODEC_FILE, LM_FILE, convert
from models.musicgen.pattern import delay, delays, undelay
from models.musicgen.text import caption
from models.musicgen.tokens import Batch, Line, Run
from models.tiny import musicgen as tiny
from training.loop import train
from training.musicgen import MusicGenTrainer

ONE_STEP = 1 / 32768
PROMPT = Text("808 trap beat, dark synth")


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


def _adapter(
    model: MusicGen, rank: int, seed: int, targets: tuple[str, ...] = ("q_proj", "v_proj", "fc2")
) -> AdapterWeights:
    generator = torch.Generator().manual_seed(seed)
    pairs = {
        name: LoraPair(
            torch.randn(layer.in_features, rank, generator=generator) / layer.in_features**0.5,
            torch.randn(rank, layer.out_features, generator=generator) / rank**0.5,
        )
        for name, layer in linear_layers(model.adapted).items()
        if name.endswith(targets)
    }
    header = Header("p", "m", "musicgen", "starter", "0", rank, "job", "2026-01-01T00:00:00+00:00", "")
    return AdapterWeights(header, pairs)


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


def _tokens(model: MusicGen) -> Any:
    return model.tokenizer(caption(PROMPT), return_tensors="pt")


def _play(model: MusicGen, *rows: Row) -> list[NDArray[np.float32]]:
    tracks = model.generate(rows)
    assert all(isinstance(track, np.ndarray) for track in tracks), tracks
    return [track for track in tracks if isinstance(track, np.ndarray)]


def _write(model: MusicGen, *lines: Line, greedy: bool = False) -> list[torch.Tensor]:
    runs = [Run(model.model, replace(line, temperature=0.0) if greedy else line) for line in lines]
    while left := [run for run in runs if run.steps_left]:
        batch = Batch(model.model, left)
        for _ in range(min(run.steps_left for run in left)):
            completed(batch.step())
    return [run.codes for run in runs]


def _lines(model: MusicGen) -> list[Line]:
    """Rows that differ in everything, texts on both sides of a block's length."""
    one, two = _adapter(model, 4, 1), _adapter(model, 24, 2, ("k_proj", "out_proj", "fc1", "lm_heads.1"))
    texts = [PROMPT, Text("warm keys " * 9), Text("x"), Text("é日本 " * 25), Text("house", bpm=124)]
    lines = [
        Line(model.encode_text(text), frames, seed, guidance)
        for text, frames, seed, guidance in zip(texts, (60, 41, 75, 60, 1), range(5), (3.0, 1.0, 4.5, 3.0, 2.0))
    ]
    mixtures = [[(one, 1.0)], [], [(two, 0.7)], [(one, 0.5), (two, -0.3)], []]
    return [replace(line, pairs=blend(mixture)) for line, mixture in zip(lines, mixtures, strict=True)]


def test_a_row_is_the_same_alone_and_among_strangers(model: MusicGen) -> None:
    lines = _lines(model)
    alone = [_write(model, line)[0] for line in lines]
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 3], [1, 3]):
        together = _write(model, *(lines[row] for row in order))
        for row, codes in zip(order, together, strict=True):
            assert torch.equal(codes, alone[row]), f"row {row} of {order}"
    assert [codes.shape for codes in alone] == [(4, line.frames) for line in lines]
    assert all(int(codes.min()) >= 0 and int(codes.max()) < 512 for codes in alone)


def test_windows_do_not_change_what_a_row_is_beside_others(short: MusicGen) -> None:
    frames = (130, 50, 75, 51, 20)
    lines = [replace(line, frames=length) for line, length in zip(_lines(short), frames, strict=True)]
    together = _write(short, *lines)
    for line, codes in zip(lines, together, strict=True):
        assert torch.equal(codes, _write(short, line)[0])


def test_audio_alone_and_together(model: MusicGen) -> None:
    rows = [Row(PROMPT, 1.0, 1), Row(Text("slow"), 0.3101, 2, guidance=1.5), Row(PROMPT, 1.0, 3)]
    tracks = _play(model, *rows)
    for row, track in zip(rows, tracks, strict=True):
        (single,) = _play(model, row)
        assert track.dtype == np.float32 and track.shape == (1, round(row.seconds * 32_000))
        assert np.abs(track - single).max() <= ONE_STEP
        assert np.abs(track).max() == pytest.approx(PEAK, abs=1e-4)
    assert np.abs(tracks[0] - tracks[2]).max() > 0.1, "another seed is another track"


@pytest.mark.parametrize("greedy", [True, False])
def test_codes_are_those_of_stock_generate(model: MusicGen, overheard: list[torch.Tensor], greedy: bool) -> None:
    torch.manual_seed(7)
    model.model.generate(**_tokens(model), do_sample=not greedy, top_k=250, guidance_scale=3.0, max_new_tokens=43)
    line = Line(model.encode_text(PROMPT), 40, 7, 3.0)
    (codes,) = _write(model, line, greedy=greedy)
    assert torch.equal(codes, overheard[0])


def test_stereo_codes_are_those_of_stock_generate(stereo: MusicGen, overheard: list[torch.Tensor]) -> None:
    stereo.model.generate(**_tokens(stereo), do_sample=False, guidance_scale=3.0, max_new_tokens=23)
    line = Line(stereo.encode_text(PROMPT), 20, 0, 3.0)
    (codes,) = _write(stereo, line, greedy=True)
    assert torch.equal(codes[::2], overheard[0]) and torch.equal(codes[1::2], overheard[1])
    (track,) = _play(stereo, Row(PROMPT, 0.5, 1))
    assert track.shape == (2, 16_000)
    assert not np.array_equal(track[0], track[1])
    assert audio.encode(stereo.codec, track).shape == (8, 25)


def test_an_adapter_changes_its_row_alone(model: MusicGen) -> None:
    base, changed = Row(PROMPT, 0.5, 1), Row(PROMPT, 0.5, 1, adapters=[(_adapter(model, 4, 1), 1.0)])
    (alone,) = _play(model, base)
    beside, twin = _play(model, base, changed)
    assert np.array_equal(alone, beside)
    assert np.abs(twin - alone).max() > 0.01


def test_two_halves_of_an_adapter_are_the_adapter(model: MusicGen) -> None:
    weights, line = _adapter(model, 8, 1), _lines(model)[1]
    whole, halves = _write(
        model,
        replace(line, pairs=blend([(weights, 1.0)])),
        replace(line, pairs=blend([(weights, 0.5), (weights, 0.5)])),
    )
    assert torch.equal(whole, halves)


def test_adapters_equal_merged_weights(model: MusicGen) -> None:
    weights, line = _adapter(model, 8, 1), _lines(model)[0]
    merged = copy.deepcopy(model.model)
    for name, pair in weights.pairs.items():
        merged.decoder.get_submodule(name).weight.data += 0.8 * (pair.a @ pair.b).T
    (expected,) = _write(MusicGen(merged, model.tokenizer), replace(line, pairs=blend(())), greedy=True)
    beside = _write(model, *_lines(model), replace(line, pairs=blend([(weights, 0.8)])), greedy=True)
    assert torch.equal(beside[-1], expected)


@pytest.mark.slow
def test_forty_seconds_go_on_after_the_window(model: MusicGen) -> None:
    (track,) = _play(model, Row(PROMPT, 40.0, 1))
    assert track.shape == (1, 40 * 32_000)
    late = track[:, 30 * 32_000 :]
    assert all(np.abs(second).max() > 0.01 for second in np.split(late, 10, axis=1))


def test_a_window_takes_over_the_end_of_the_last_one(short: MusicGen, overheard: list[torch.Tensor]) -> None:
    """The second window is written as `generate` goes on from a prompt: 20 of 50 frames."""
    line = Line(short.encode_text(PROMPT), 80, 0, 3.0)
    (codes,) = _write(short, line, greedy=True)
    (first,) = _write(short, replace(line, frames=50), greedy=True)
    assert torch.equal(codes[:, :50], first)
    short.model.generate(
        **_tokens(short), decoder_input_ids=codes[:, 30:50], do_sample=False, guidance_scale=3.0, max_length=54
    )
    assert torch.equal(codes[:, 30:80], overheard[0])


def test_a_row_that_fails_fails_alone(model: MusicGen) -> None:
    good, weights = Row(PROMPT, 0.5, 1), _adapter(model, 4, 1)
    pair = next(iter(weights.pairs.values()))
    poisoned = replace(
        weights, pairs={name: replace(pair, a=pair.a * torch.nan) for name, pair in weights.pairs.items()}
    )
    (alone,) = _play(model, good)
    broken, beside, misfit, misshapen, unread = model.generate(
        [
            replace(good, seconds=1.5, adapters=[(poisoned, 1.0)]),
            good,
            replace(good, adapters=[(replace(weights, pairs={"nowhere": pair}), 1.0)]),
            replace(good, adapters=[(replace(weights, pairs={"lm_heads.0": pair}), 1.0)]),
            replace(good, seconds=float("nan")),
        ]
    )
    assert isinstance(broken, FloatingPointError)
    assert isinstance(misfit, InvalidAdapter) and isinstance(misshapen, InvalidAdapter)
    assert isinstance(unread, ValueError)
    assert isinstance(beside, np.ndarray) and np.array_equal(beside, alone)
    assert np.array_equal(_play(model, good)[0], alone), "nothing of it is left on the model"


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("frames", [1, 40, 41, 133])
def test_pieces_of_audio_are_as_the_whole(
    model: MusicGen, monkeypatch: pytest.MonkeyPatch, causal: bool, frames: int
) -> None:
    config = copy.deepcopy(model.codec.config)
    config.use_causal_conv, config.trim_right_ratio = causal, 1.0
    torch.manual_seed(0)
    codec = EncodecModel(config).eval()
    codes = torch.randint(512, (4, frames))
    with torch.no_grad():
        whole = codec.decode(codes[None, None], [None]).audio_values[0]
    monkeypatch.setattr("models.chunked_decoding._PIECE", 40)
    monkeypatch.setattr("models.chunked_decoding._OVERLAPS", 1)
    work = audio.decode(codec, codes, 1)
    pieces = list(work)
    assert len(pieces) == -(-frames // 40)
    parts = completed(audio.decode(codec, codes, 1))
    assert parts.shape == whole.shape == (1, frames * 640)
    assert np.abs(parts - whole.numpy()).max() < 1e-5 * whole.abs().max()


def test_silence_stays_silent(model: MusicGen, monkeypatch: pytest.MonkeyPatch) -> None:
    def silence(*_: object) -> Generator[None, None, NDArray[np.float32]]:
        yield from ()
        return np.zeros((1, 32_000), np.float32)

    monkeypatch.setattr(audio, "decode", silence)
    (track,) = _play(model, Row(PROMPT, 0.5, 1))
    assert not track.any()


def test_caption_takes_in_what_musicgen_has_no_field_for() -> None:
    assert caption(Text(" a beat ")) == "a beat"
    assert (
        caption(Text("a beat", "la la", 140, "A minor", "3"))
        == 'a beat, 140 bpm, A minor, 3/4 time, with the words "la la"'
    )


def test_prompts_make_different_tracks(model: MusicGen) -> None:
    one, two = _play(model, Row(Text("calm piano"), 0.5, 1), Row(Text("calm piano", bpm=90), 0.5, 1))
    assert np.abs(one - two).max() > 0.01


@pytest.mark.parametrize("channels", [1, 2])
def test_delay_and_back(channels: int) -> None:
    codes = torch.arange(4 * 3).view(4, 3)
    by = delays(4, channels)
    delayed = delay(codes, by, -1)
    assert by == ([0, 1, 2, 3] if channels == 1 else [0, 0, 1, 1])
    assert delayed[:, 0].tolist() == [-1] * 4
    assert delayed[3, 1 + by[3] :].tolist()[:3] == codes[3].tolist()
    assert torch.equal(undelay(delayed, by), codes)


def test_a_file_goes_out_and_comes_back(model: MusicGen) -> None:
    weights = _adapter(model, 4, 3)
    data = encode(weights.header, weights.pairs, model)
    assert f"{PREFIX}decoder.model.decoder.layers.0.self_attn.q_proj.lora_A.weight".encode() in data
    back = decode(data, model)
    assert back.pairs.keys() == weights.pairs.keys()
    for name, pair in back.pairs.items():
        assert torch.equal(pair.a, weights.pairs[name].a) and torch.equal(pair.b, weights.pairs[name].b)


def test_peft_loads_the_file_onto_the_stock_model(model: MusicGen) -> None:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load

    weights = _adapter(model, 4, 3, ("q_proj",))
    stock = get_peft_model(
        copy.deepcopy(model.model), LoraConfig(r=4, lora_alpha=4, target_modules=r"decoder\..*q_proj")
    )
    outcome = set_peft_model_state_dict(stock, load(encode(weights.header, weights.pairs, model)))
    assert not outcome.unexpected_keys
    layer = stock.get_submodule("base_model.model.decoder.model.decoder.layers.0.self_attn.q_proj")
    assert torch.equal(layer.lora_A["default"].weight.T, weights.pairs["model.decoder.layers.0.self_attn.q_proj"].a)


def _clip(seconds: float, channels: int = 1) -> NDArray[np.float32]:
    time = np.arange(round(seconds * 32_000)) / 32_000
    kick = np.sin(2 * np.pi * 55 * time) * np.exp(-8 * (time % 0.5))
    tone = 0.3 * np.sin(2 * np.pi * 220 * (1 + time // 1 % 3 / 4) * time)
    return np.tile((0.4 * (kick + tone)).astype(np.float32), (channels, 1))


def test_training_learns_a_clip(model: MusicGen) -> None:
    trainer = MusicGenTrainer(model)
    example = trainer.example(_clip(4.0), PROMPT)
    assert example["codes"].shape == (4, 200) and example["text"].shape[1] == 128
    (before,) = _play(model, Row(PROMPT, 0.2, 1))
    losses: list[float] = []
    recipe = replace(trainer.recipe(4.0), steps=40, batch=1, warmup=4)
    pairs = train(trainer, model.adapted, [example], recipe, lambda _, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < losses[0] - 1
    assert len(pairs) == 3 * 8
    weights = AdapterWeights(_adapter(model, 16, 0).header, pairs)
    twin, base = _play(model, Row(PROMPT, 0.2, 1, adapters=[(weights, 1.0)]), Row(PROMPT, 0.2, 1))
    assert np.array_equal(base, before), "training leaves the model as it was"
    assert np.abs(twin - base).max() > 0.01


def test_loss_is_the_stock_loss(model: MusicGen, stereo: MusicGen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.musicgen._TEXT_DROPOUT", 0.0)
    for each in (model, stereo):
        trainer = MusicGenTrainer(each)
        example = trainer.example(_clip(1.0, each.channels), PROMPT)
        labels = delay(example["codes"], delays(len(example["codes"]), each.channels), 512)[:, 1:].T[None].clone()
        stock = each.model.decoder(labels=labels, encoder_hidden_states=example["text"][None]).loss
        assert trainer.losses([example], [torch.Generator()]).item() == pytest.approx(stock.item(), abs=1e-5)


def test_loss_of_an_example_is_the_same_in_any_batch(model: MusicGen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.musicgen._TEXT_DROPOUT", 0.0)
    trainer = MusicGenTrainer(model)
    examples = [trainer.example(_clip(1.0), PROMPT), trainer.example(_clip(0.5), Text("another, longer text"))]
    alone = [trainer.losses([example], [torch.Generator()]).item() for example in examples]
    together = trainer.losses(examples, [torch.Generator(), torch.Generator()])
    assert together.tolist() == pytest.approx(alone, abs=1e-5)


def test_text_left_out_is_what_guidance_leaves_out(model: MusicGen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.musicgen._TEXT_DROPOUT", 1.0)
    trainer = MusicGenTrainer(model)
    one, two = (trainer.example(_clip(1.0), Text(prompt)) for prompt in ("one", "another text"))
    assert trainer.losses([one], [torch.Generator()]).item() == pytest.approx(
        trainer.losses([two], [torch.Generator()]).item(), abs=1e-6
    )


def test_the_tiny_checkpoint_is_always_the_same(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        tiny.build(tmp_path / name)
        files = sorted((tmp_path / name).iterdir())
        assert sum(file.stat().st_size for file in files) < 10e6
        digests.append([(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files])
    assert digests[0] == digests[1]


def test_what_is_no_musicgen_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a MusicGen checkpoint") as refusal:
        MusicGen.load(Checkpoint("mine", tmp_path, "0"), torch.device("cpu"), torch.float32)
    assert "\n" not in str(refusal.value)


class _Command:
    """What a malicious checkpoint would have run when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return print, ("this must not run",)


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        (None, "no such file"),
        ([1], "no best_state"),
        ({"best_state": {}}, "xp.cfg cannot be read"),
        ({"best_state": {}, "xp.cfg": "just words"}, "xp.cfg cannot be read"),
        ({"best_state": {}, "xp.cfg": "{}"}, "not a MusicGen that is driven by text"),
        ({"best_state": _Command(), "xp.cfg": "{}"}, "not a checkpoint of audiocraft's"),
    ],
)
def test_what_is_no_checkpoint_of_audiocrafts_is_not_imported(
    package: Any, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (LM_FILE, CODEC_FILE):
        if package is not None:
            torch.save(package, tmp_path / name)
    with pytest.raises(CheckpointError, match=reason) as refusal:
        convert(tmp_path, tmp_path / "out")
    assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()
    assert "must not run" not in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="exists already"):
        convert(tmp_path, tmp_path)
