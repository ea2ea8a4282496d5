"""The local tagger against figures of another implementation of its networks, and in datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from core.settings import ROOT, Settings
from preprocessing.captions import Caption
from preprocessing.dataset import Clip, restore
from preprocessing.tagger import musicnn
from preprocessing.tagger.listen import describe
from preprocessing.tagger.words import MAX_WORDS, Word, describe_probabilities
from storage import Storage, keys
from tests.sounds import written
from tests.unit.preprocessing.helpers import make, tone
from training.train_eval_split import text_of

MUSIC = ROOT / "training" / "evaluation" / "reference_music"

# Made with librosa's mel spectrogram and an implementation of the networks that was not derived from ours: mean
# probability over five windows, the beginning of the first window's embedding, and its length.
REFERENCE: dict[tuple[str, Literal["msd", "mtt"]], tuple[dict[str, float], list[float], float]] = {
    ("techno", "msd"): (
        {"electronic": 0.5518, "electro": 0.2338, "dance": 0.1961, "electronica": 0.1165, "indie": 0.085},
        [-0.1772, -0.127, -0.2848, -0.2751, -0.3532],
        25.334,
    ),
    ("techno", "mtt"): (
        {"fast": 0.4614, "piano": 0.3857, "solo": 0.108, "no vocals": 0.0483, "no vocal": 0.0432},
        [-0.08, -0.0329, 3.4216, -0.1861, 1.0225],
        24.349,
    ),
    ("lofi", "msd"): (
        {"jazz": 0.2324, "electronic": 0.1956, "chillout": 0.1728, "instrumental": 0.1186, "ambient": 0.1024},
        [-0.1772, -0.127, -0.2848, -0.2751, 0.3211],
        19.673,
    ),
    ("lofi", "mtt"): (
        {"guitar": 0.7491, "slow": 0.2884, "strings": 0.0938, "piano": 0.0659, "solo": 0.0636},
        [0.7084, -0.0329, 1.1524, -0.1861, -0.0787],
        14.21,
    ),
}


def music(name: str) -> tuple[np.ndarray, int]:
    """Mono samples and their rate."""
    samples, rate = soundfile.read(MUSIC / f"{name}.ogg", dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate


@pytest.mark.parametrize(("name", "network"), REFERENCE)
def test_the_networks_agree_with_the_reference(name: str, network: Literal["msd", "mtt"]) -> None:
    tags, embedding, length = REFERENCE[name, network]
    samples, rate = music(name)
    heard = musicnn.load(network).hear(soxr.resample(samples, rate, musicnn.RATE))
    assert heard.probabilities.shape == (3, 50)
    means = dict(zip(musicnn.TAGS[network], heard.probabilities.mean(axis=0)))
    assert sorted(means, key=means.__getitem__, reverse=True)[:5] == list(tags)
    assert [means[tag] for tag in tags] == pytest.approx(list(tags.values()), abs=0.002)
    assert heard.embedding[0, :5] == pytest.approx(embedding, abs=0.01)
    assert np.linalg.norm(heard.embedding) == pytest.approx(length, abs=0.02)


def test_short_audio_is_repeated() -> None:
    heard = musicnn.load("mtt").hear(np.ones(2000, np.float32))
    assert heard.embedding.shape == (1, 200)
    assert np.isfinite(heard.embedding).all()


def test_words_of_segments(tmp_path: Path) -> None:
    for name in ("techno", "lofi"):
        samples, rate = music(name)
        (tmp_path / f"{name}.wav").write_bytes(written(samples[:, None], rate))
    (techno,) = describe([tmp_path / "techno.wav"])
    assert {"electronic", "piano", "fast", "no vocals"} <= {word.text for word in techno.words}
    (lofi,) = describe([tmp_path / "lofi.wav"])
    assert {"guitar", "slow"} <= {word.text for word in lofi.words}
    assert techno.vocal is lofi.vocal is False
    assert describe([]) == []
    # A segment's words lean towards its song's.
    together = describe([tmp_path / "techno.wav", tmp_path / "lofi.wav"])
    assert Word("guitar", "instrument") in together[1].words
    assert Word("slow", "mood") not in together[1].words


NAMES = [f"{network} {tag}" for network, tags in musicnn.TAGS.items() for tag in tags]
VOICE = {"mtt female": 0.5, "mtt female vocal": 0.4, "mtt vocal": 0.2}


@pytest.mark.parametrize(
    ("heard", "words", "vocal"),
    [
        ({}, ["no vocals"], False),
        (
            {"mtt strings": 0.4, "mtt slow": 0.3, "mtt classical": 0.4},
            ["classical", "strings", "slow", "no vocals"],
            False,
        ),
        ({"msd metal": 0.7} | VOICE, ["metal", "female vocals"], True),
        ({"mtt male": 0.5, "mtt male vocal": 0.5}, ["male vocals"], True),
        ({"mtt choir": 0.5, "mtt choral": 0.4}, ["choir"], True),
        ({"mtt vocal": 0.5}, [], None),
        ({"mtt beat": 1.0, "mtt beats": 1.0, "msd instrumental": 1.0}, ["no vocals"], False),
    ],
)
def test_words_by_example(heard: dict[str, float], words: list[str], vocal: bool | None) -> None:
    found = describe_probabilities(dict.fromkeys(NAMES, 0.01) | heard)
    assert ([word.text for word in found.words], found.vocal) == (words, vocal)


@given(st.lists(st.floats(0, 1), min_size=100, max_size=100))
def test_any_probabilities_make_few_distinct_words(values: list[float]) -> None:
    found = describe_probabilities(dict(zip(NAMES, values)))
    texts = [word.text for word in found.words]
    assert len(texts) == len(set(texts))
    for kind, most in MAX_WORDS.items():
        assert sum(word.kind == kind for word in found.words) <= most
    assert not {"beat", "instrumental"} & set(texts)
    assert sum(word.kind == "voice" for word in found.words) == (found.vocal is not None)


@pytest.fixture
def techno(store: Storage) -> list[str]:
    """The path of an upload."""
    samples, rate = music("techno")
    store.put("uploads/p/u/one.wav", written(np.tile(samples, 2)[:, None], rate))
    return ["/data/uploads/p/u/one.wav"]


@pytest.mark.slow
def test_a_dataset_says_what_was_heard(store: Storage, techno: list[str], tmp_path: Path) -> None:
    made = make(store, tmp_path, tagger="local", upload_paths=techno)
    assert made.record["tagging"] == {"model": "musicnn", "tagged": 2, "untagged": 0, "calls": 0, "reason": None}
    assert made.record["files"][0]["warnings"] == []
    for number, (clip, part) in enumerate(zip(made.clips, made.record["segments"])):
        words = clip.caption.text.split(", ")
        assert {"electronic", "fast", "no vocals"} <= set(words)
        assert part["caption"]["sources"]["text"] == dict.fromkeys(words, "tagger")
        assert (part["caption"]["vocal"], part["caption"]["sources"]["vocal"]) == (False, "tagger")
        assert part["tags"] is None
        assert store.get(keys.job_text("j", f"seg_{number:04d}")).decode().strip() == clip.caption.text
        assert text_of(clip).lyrics == ""
    again = restore(made.record, store, tmp_path / "again")
    assert [clip.caption for clip in again.clips] == [clip.caption for clip in made.clips]
    assert [clip.caption.sources for clip in again.clips] == [clip.caption.sources for clip in made.clips]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metadata", "has", "lacks"),
    [
        ({"genre": "acid"}, {"acid", "piano"}, {"electronic"}),
        ({"instruments": ["303"]}, {"303", "electronic"}, {"piano"}),
        ({"mood": "tense", "title": "One"}, {"tense", "One", "electronic"}, {"fast"}),
        ({"instrumental": False}, {"electronic"}, {"no vocals"}),
    ],
)
def test_the_clients_words_replace_what_was_heard(
    store: Storage, techno: list[str], tmp_path: Path, metadata: dict[str, Any], has: set[str], lacks: set[str]
) -> None:
    made = make(store, tmp_path, tagger="local", upload_paths=techno, metadata_per_file=[metadata])
    words = set(made.clips[0].caption.text.split(", "))
    assert has <= words
    assert not lacks & words
    if "instrumental" in metadata:
        assert made.clips[0].caption.vocal is True
        assert text_of(made.clips[0]).lyrics is None


def test_lyrics_are_unknown_where_somebody_sings() -> None:
    def lyrics(vocal: bool | None) -> str | None:
        return text_of(Clip(Path(), Caption("x", vocal=vocal), 15.0, 0)).lyrics

    assert (lyrics(True), lyrics(False), lyrics(None)) == (None, "", "")


def test_the_language_that_is_stated_is_trained_on() -> None:
    assert text_of(Clip(Path(), Caption("x", vocal_language="ja"), 15.0, 0)).vocal_language == "ja"


@pytest.mark.slow
def test_a_song_of_which_nothing_is_known(store: Storage, techno: list[str], tmp_path: Path) -> None:
    store.put("uploads/p/u/two.wav", written(tone(3)))
    paths = [*techno, "/data/uploads/p/u/two.wav"]
    made = make(
        store, tmp_path, upload_paths=paths, metadata_per_file=[{"genre": "techno"}, {"title": "Two", "bpm": 90}]
    )
    known, unknown = (file["warnings"] for file in made.record["files"])
    assert not any("little is known" in warning for warning in known)
    (warning,) = (warning for warning in unknown if "little is known" in warning)
    assert "heard" not in warning and "Genre" in warning
    assert made.record["tagging"] is None


@pytest.mark.parametrize("tagger", ["gemini", "local", "none", ""])
def test_the_setting(tagger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGGER", tagger)
    assert Settings().tagger == (tagger or None)
