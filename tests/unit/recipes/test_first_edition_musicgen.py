"""The MusicGen starter's recipe in small, and the checkpoint that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.base import Text
from models.musicgen import MusicGen
from models.musicgen import codec as coding
from models.musicgen.decoder import Decoder, begin_row
from recipes.first_edition.checkpoint import load_starter
from recipes.first_edition.clips import LOOP_SECONDS, Clip
from recipes.first_edition.data import TRAINING, Pool, on_the_clock, song_number
from recipes.first_edition.measures import reconstruction_table
from recipes.first_edition.musicgen.architecture import CODEBOOKS, CODES, HOP, WIDTH
from recipes.first_edition.musicgen.clock import hand
from recipes.first_edition.musicgen.codec import Codec, reconstruct
from recipes.first_edition.musicgen.levels import LEVELS, unit_levels
from recipes.first_edition.musicgen.model import CONTEXT_SECONDS, Starter, _draw, frames
from recipes.first_edition.musicgen.quantiser import Quantiser
from recipes.synthesiser import Song

pytestmark = pytest.mark.long

CHECKPOINT = Path(__file__).parents[3] / "models" / "starter" / "musicgen"


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    codec = Codec().eval()
    codec.start(torch.from_numpy(Pool(TRAINING, size=48, seconds=2.0).audio)[:, None])
    return codec


def test_the_codec_is_a_codec_before_training(codec: Codec) -> None:
    audio = Pool(TRAINING, size=8, seconds=2.0).audio
    decoded = reconstruct(codec.pack(), audio)
    assert decoded.shape == audio.shape
    assert reconstruction_table(audio, decoded)["si_sdr"] > 3


def test_the_first_codebook_says_the_levels_and_the_others_the_rest(codec: Codec) -> None:
    codes = codec.quantiser.codes
    assert codes[0, :, LEVELS:].abs().max() == 0 and codes[1:, :, :LEVELS].abs().max() == 0
    audio = torch.from_numpy(Pool(TRAINING, size=8, seconds=2.0).audio)
    first = torch.from_numpy(np.stack([coding.encode(codec.pack(), song[None])[0].numpy() for song in audio.numpy()]))
    said = codes[0][first][..., :LEVELS].transpose(1, 2)
    assert (said - unit_levels(audio)).square().mean() < 0.5


def test_codes_move_to_what_chooses_them() -> None:
    torch.manual_seed(0)
    quantiser = Quantiser(LEVELS + 4)
    values = torch.randn(2, LEVELS + 4, 3000)
    quantiser.start(values, rounds=1)
    quantiser.train()
    before = quantiser(values)[1]
    for _ in range(100):
        quantiser(values)
    quantiser.eval()
    assert quantiser(values)[1] < before
    learned = quantiser.codes.clone()
    quantiser(values)
    assert torch.equal(learned, quantiser.codes)


def test_gradients_go_past_the_choice() -> None:
    torch.manual_seed(0)
    quantiser = Quantiser(LEVELS + 4).eval()
    values = torch.randn(1, LEVELS + 4, 5, requires_grad=True)
    quantiser(values)[0].sum().backward()
    assert values.grad is not None and torch.equal(values.grad, torch.ones_like(values))


def test_no_code_is_told_by_itself_or_by_later_ones() -> None:
    """What is said of a frame may depend on earlier frames and on the frame's coarser codes only."""
    torch.manual_seed(0)
    starter = Starter().eval()
    codes = torch.randint(CODES, (1, CODEBOOKS, 20))
    told, none = torch.ones(1), torch.zeros(1)
    with torch.no_grad():
        before = starter.losses(codes, ["trap"], told, none)
        changed = codes.clone()
        changed[0, 2, 10] = (changed[0, 2, 10] + 1) % CODES
        after = starter.losses(changed, ["trap"], told, none)
    same = ((before - after).abs() < 1e-6)[0]
    for book in range(CODEBOOKS):
        for frame in range(20):
            # Codebook k of frame t is predicted at position t + k.
            read = frame + book > 10 + 2
            assert read or same[book, frame] == ((book, frame) != (2, 10))
    assert not same[0, 13] and not same[3, 10] and not same[2, 10]


def test_without_a_text_the_text_has_no_effect() -> None:
    torch.manual_seed(0)
    starter = Starter().eval()
    codes, none = torch.randint(CODES, (1, CODEBOOKS, 8)), torch.zeros(1)
    with torch.no_grad():
        unconditional = [starter.losses(codes, [text], none, none) for text in ("trap", "deep house, 124 bpm, A minor")]
        conditional = [
            starter.losses(codes, [text], none + 1, none) for text in ("trap", "deep house, 124 bpm, A minor")
        ]
    assert torch.allclose(unconditional[0], unconditional[1], atol=1e-5)
    assert not torch.allclose(conditional[0], conditional[1], atol=1e-3)


def test_a_blind_step_ignores_the_codes_and_follows_the_text() -> None:
    torch.manual_seed(0)
    starter = Starter().eval()
    codes, conditional, skip = torch.randint(CODES, (1, CODEBOOKS, 20)), torch.ones(1), torch.zeros(1)
    changed = codes.clone()
    changed[..., 10] = (changed[..., 10] + 1) % CODES
    with torch.no_grad():
        before, after, other = (
            starter.losses(given, [text], conditional, skip, blind=True)[0]
            for given, text in ((codes, "trap, drums"), (changed, "trap, drums"), (codes, "trap, no drums"))
        )
    same = torch.isclose(before, after, atol=1e-6)
    assert same[:, :10].all() and same[:, 11:].all() and not same[:, 10].any()
    assert (before - other).abs().max() > 0.01


def test_words_are_told_apart_before_training() -> None:
    """Cross-attention starts with scores that differ, and states that are as large as the decoder's own."""
    torch.manual_seed(0)
    starter = Starter().eval()
    with torch.no_grad():
        states, _ = starter.conditions(["dark trap, no drums, 140 bpm"], torch.ones(1))
        attention = starter.decoder.model.decoder.layers[0].encoder_attn
        scores = (attention.q_proj(torch.randn(8, WIDTH)) @ attention.k_proj(states[0]).T) * attention.scaling
    assert 0.5 < states.std() < 2 and 0.5 < scores.std() < 4


def test_the_clock_goes_at_the_tempo_in_the_text() -> None:
    """Before any training the first layer looks at the number on the beat, and away from it between beats."""
    torch.manual_seed(0)
    starter = Starter().eval()
    starter.start_clock()
    attention, asked = starter.decoder.model.decoder.layers[0].encoder_attn, list[torch.Tensor]()
    attention.q_proj.register_forward_hook(lambda _, given, queries: asked.append(queries))
    head = slice(0, WIDTH // 4)
    codes = torch.randint(CODES, (1, CODEBOOKS, frames(4.0)))
    for bpm in (72, 101, 128, 160):
        text = f"dark trap with bells, hard drums, {bpm} bpm, A minor"
        words = starter.tokenizer.convert_ids_to_tokens(starter.tokenizer(text).input_ids)
        with torch.no_grad():
            states, _ = starter.conditions([text], torch.ones(1))
            key = attention.k_proj(states[0, words.index(str(bpm))])
            starter.losses(codes, [text], torch.ones(1), torch.zeros(1))
        score = (asked.pop()[0, : frames(4.0), head] @ key[head]).numpy()
        at = np.arange(len(score))
        even = 2 * round(bpm / 2)  # the clock has even tempos
        assert np.corrcoef(score, hand(even, 0, at))[0, 1] > 0.8
        assert abs(np.corrcoef(score, hand(1.13 * even, 0, at))[0, 1]) < 0.4


def _counted(song: Song, seconds: float) -> Clip:
    """A clip whose codes are the numbers of its frames."""
    return Clip(song, seconds, torch.arange(frames(seconds))[:, None].expand(-1, CODEBOOKS))


def test_pieces_begin_on_a_phrase_unless_they_are_entered() -> None:
    class Stock:
        def __init__(self) -> None:
            songs = [on_the_clock(song_number(TRAINING, n)) for n in range(60)]
            self.clips = [clip for song in songs for clip in (_counted(song, LOOP_SECONDS), _counted(song, 60.0))]

        def of_seconds(self, seconds: float) -> list[Clip]:
            return [clip for clip in self.clips if clip.seconds == seconds]

    rng = np.random.default_rng(0)
    for blind in (False, True) * 15:
        clips, codes, skip = _draw(Stock(), rng, blind)  # type: ignore[arg-type]
        assert not blind or not skip.any()
        for clip, piece, skipped in zip(clips, codes, skip, strict=True):
            phrase = 4 * clip.song.bar_seconds
            begins = int(piece[0, 0]) in [frames(n * phrase) for n in range(8)]
            assert begins or skipped == frames(CONTEXT_SECONDS)
    assert HOP * frames(1.0) == 24_000


def test_the_shipped_checkpoint_makes_music() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.rglob("*") if path.is_file()) <= 40e6
    starter = load_starter("musicgen", CHECKPOINT, "cpu")
    text = Text("deep house, 日本語", bpm=124, key="A minor", time_signature="4")
    audio, again = starter.generate(text, 4.0, 1), starter.generate(text, 4.0, 1)
    assert audio.shape == (4 * starter.model.sample_rate,) and np.isfinite(audio).all() and np.abs(audio).max() > 0.05
    assert np.array_equal(audio, again)


def test_a_row_of_the_shipped_checkpoint_is_the_same_to_the_bit_beside_any_number_of_others() -> None:
    """Its layers are wide enough for matrix products to be computed in another way for more rows."""
    model = load_starter("musicgen", CHECKPOINT, "cpu").model
    assert isinstance(model, MusicGen)
    decoder = model.model.decoder
    text = model.encode_text(Text("808 trap beat, dark synth"))
    codes = torch.randint(CODES, (6, CODEBOOKS), generator=torch.Generator().manual_seed(0))

    def logits(rows: int) -> torch.Tensor:
        beside = Decoder(decoder, [begin_row(decoder, text, {}, {}) for _ in range(rows)], len(codes))
        said = [beside.step(now.expand(rows, -1), torch.full((rows,), at), at)[0][0] for at, now in enumerate(codes)]
        return torch.stack(said)

    with torch.inference_mode():
        alone = logits(1)
        assert [rows for rows in (2, 3, 5, 8, 12, 17) if not torch.equal(logits(rows), alone)] == []


def test_training_can_go_on_from_the_shipped_checkpoint(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from recipes.first_edition.musicgen.model import pack, unpack

    unpack(CHECKPOINT, tmp_path / "runs")
    pack(tmp_path / "runs", tmp_path / "again")
    shipped, again = (load_file(folder / "model.safetensors") for folder in (CHECKPOINT, tmp_path / "again"))
    assert shipped.keys() == again.keys() and all(torch.equal(again[name], value) for name, value in shipped.items())
    with pytest.raises(FileExistsError):
        unpack(CHECKPOINT, tmp_path / "runs")
