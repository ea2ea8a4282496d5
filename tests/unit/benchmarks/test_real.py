"""The figures of `benchmarks.real`, and its folders of music."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.real.composers import draw, read_composers
from benchmarks.real.figures import DISTANCE, MEASURES, Meter
from benchmarks.real.pictures import draw_spectrograms
from benchmarks.real.prepare import plan
from benchmarks.real.twin import _captions
from training.evaluation.audio_measures import Audio

RATE = 24_000


def _noise(level: float = 0.1, seconds: float = 3.0) -> Audio:
    return (level * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype(np.float32)


def test_a_set_has_every_figure_and_its_level_does_not_matter() -> None:
    def embed(audio: Audio, rate: int) -> np.ndarray:
        return np.array([[np.log(np.abs(block).mean())] * 2 for block in np.array_split(audio, 4)], np.float32)

    meter = Meter(embed, [_noise()], RATE)
    same, louder = meter.measure([[_noise()], [_noise(0.8)]])[DISTANCE]
    assert same == pytest.approx(0, abs=1e-4) and louder == pytest.approx(0, abs=1e-4)
    assert meter.measure([[_noise()], [_noise(0.8)]]).keys() == {*MEASURES, DISTANCE}


def test_excerpts_are_drawn_from_each_song(tmp_path: Path) -> None:
    for part in ("train", "held"):
        (tmp_path / "ada" / part).mkdir(parents=True)
        for name, level in (("one", 0.1), ("two", 0.3)):
            soundfile.write(tmp_path / "ada" / part / f"{name}.flac", _noise(level, 2.0)[:, None].repeat(2, 1), RATE)
    [composer] = read_composers(tmp_path)
    sets = draw(composer.train, sets=2, clips=2, seconds=1.0, rate=12_000, seed=0)
    assert [[len(clip) for clip in clips] for clips in sets] == [[12_000, 12_000]] * 2
    assert all(one.std() < 0.5 * two.std() for one, two in sets)
    assert len(draw(composer.held, 1, 1, 60.0, 12_000, seed=0)[0][0]) == 24_000


def test_a_folder_without_music_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder of a composer"):
        read_composers(tmp_path)
    (tmp_path / "ada" / "train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="train: there is no music"):
        read_composers(tmp_path)


def test_no_second_of_music_is_both_trained_on_and_held() -> None:
    many = plan({Path(f"{number}.ogg"): 30.0 + 20 * number for number in range(14)}, 60)
    train, held = ([each for each in many if each.part == part] for part in ("train", "held"))
    assert len(train) == 6 and len(held) == 3
    assert not {each.path for each in train} & {each.path for each in held}
    assert all(each.start >= 0 and each.seconds <= 60 for each in many)
    few = plan({Path("a.ogg"): 80.0, Path("b.ogg"): 300.0}, 60)
    assert [(each.part, each.start, each.seconds) for each in few] == [
        *(("train", 0, 40), ("train", 90, 60)),
        *(("held", 40, 40), ("held", 150, 60)),
    ]


def test_captions_of_different_songs_come_first() -> None:
    def segment(file: int, text: str, bpm: int | None = None) -> dict:
        return {"file": file, "caption": {"text": text, "bpm": bpm, "key": None, "time_signature": None}}

    segments = [segment(0, "a", 90), segment(0, "a", 90), segment(0, "b"), segment(1, "c")]
    assert _captions({"segments": segments}) == [{"prompt": "a", "bpm": 90}, {"prompt": "c"}, {"prompt": "b"}]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw_spectrograms({"real": [_noise()], "twin": [_noise(), _noise()]}, RATE, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
