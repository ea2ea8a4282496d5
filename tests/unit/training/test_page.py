"""The report's page: reports of this and of earlier versions, ratings, pictures, and hostile text."""

from __future__ import annotations

import re
from typing import Any

import pytest

from storage import NotFound
from training.evaluation import page, ratings
from training.evaluation.song_names import song_names

EVIL = '</title></svg></style><script>alert("x")</script><img src=x onerror=alert(1)>'


def report(**changes: Any) -> dict[str, Any]:
    """A report of an earlier version, as it is before anything was measured."""
    fields: dict[str, Any] = dict.fromkeys(("verdict", "data", "training", "held_out", "trained_on", "other_music"))
    fields |= {"resemblance": None, "unmeasured": [], "previews": [], "comparisons": [], "written_at": "now"}
    return (
        fields | {"producer_id": "ada", "model_name": "m", "job_id": "j", "backend": "b", "base": "starter"} | changes
    )


def value(value: float, margin: float = 0.1) -> dict[str, float]:
    return {"value": value, "low": value - margin, "high": value + margin}


def gain(gain: float, **more: Any) -> dict[str, Any]:
    row = {"without": 1.0, "with_twin": 1 - gain, "gain": gain, "low": gain - 0.01, "high": gain + 0.01}
    return row | {"sample": "songs", "count": 8} | more


def song(number: int, name: str, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"song": number, "name": name, "held_out": False, "seconds": 187.0, "segments": 8}
    row |= {"duplicate_of": None, "words": [{"text": "techno", "source": "metadata", "segments": 8}]}
    row["tempo"] = {"value": 95.04, "source": "analysis", "confidence": 0.96, "alternative": 190.08}
    row["key"] = {"value": "A minor", "source": None, "confidence": 0.31, "alternative": None}
    return row | changes


def data(*songs: dict[str, Any], warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    section: dict[str, Any] = {"songs": len(songs), "segments": 8, "seconds": 120.0, "trained_seconds": 100.0}
    return section | {
        "set_aside": ["/data/uploads/ada/x/night.wav"],
        "by_song": list(songs),
        "warnings": list(warnings),
    }


NEARNESS = {
    "space": "musicnn's embedding",
    "own": value(2.0),
    "without": value(10.0),
    "with_twin": value(5.0),
    "codec": value(3.0),
    "held_out": value(2.5),
    "other_music": None,
}
HEARD = {
    "pulse": {"own": value(0.8), "codec": value(0.7), "without": value(0.2), "with_twin": value(0.1)},
    "persistence": {"own": value(0.2), "codec": None, "without": value(0.2), "with_twin": value(0.1)},
}


def read(name: str) -> bytes:
    if name.endswith("gone.mp3"):
        raise NotFound(name)
    return name.encode()


def render(**changes: Any) -> str:
    return re.sub(r"\s+", " ", page.render(report(**changes), read))


def plain(text: str) -> str:
    """The page's text without tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text.partition("<body>")[2]))


def test_the_page_escapes_everything_and_goes_without_missing_previews() -> None:
    words = [{"text": EVIL, "source": EVIL, "segments": 3}]
    songs = data(song(0, EVIL, words=words), song(1, "b", duplicate_of=EVIL), warnings=(EVIL,))
    text = render(
        base=EVIL,
        data=songs | {"set_aside": [EVIL]},
        verdict={"verdict": EVIL, "sentence": EVIL, "advice": EVIL},
        resemblance=NEARNESS | {"space": EVIL},
        unmeasured=[EVIL],
        previews=[{"step": 3, "name": "gone.mp3"}],
        comparisons=[{"prompt": EVIL, "without": "without_0.mp3", "with_twin": "with_0.mp3"}],
        own_clips=[{"name": "own_0.mp3", "song": 0, "prompt": EVIL}],
    )
    assert "<script" not in text and "<img src=x" not in text
    assert text.count("data:audio/mpeg;base64,") == 3 and text.count("<audio") == 3


def test_a_report_of_an_earlier_version_is_shown_as_it_was() -> None:
    old = {"with_twin": 0.61, "without": 0.83, "set_aside": 0.32, "other_music": None, "space": "20 MFCCs"}
    without_songs = {name: part for name, part in data().items() if name != "by_song"}
    text = render(resemblance=old, data=without_songs | {"songs": 3}, held_out=gain(0.05))
    assert "0.610" in text and "0.830" in text and "20 MFCCs" in text and "<svg" not in text
    assert "never trained on: night." in text and "/data/" not in text
    assert "no verdict" in text


def test_it_says_how_many_pieces_are_memorised() -> None:
    memorised = {"pieces": 12, "memorised": 2, "threshold": 0.7, "highest": 0.834, "segment": 5, "codec": 0.52}
    assert "Memorised: 2 of 12 pieces" in plain(render(memorised=memorised))
    text = plain(render(memorised=memorised))
    assert "0.83, to segment 5." in text and "codec has 0.52, so that the model can repeat it without" in text
    assert "without being found" not in plain(render(memorised=memorised | {"codec": 0.9}))
    assert "Memorised" not in plain(render(memorised=None))


def test_it_says_why_a_twin_plays_more_weakly() -> None:
    weakened = {"before": 1.0, "scale": 0.5, "lost": ["rhythm", "harmony"], "still_lost": [], "less_lost": []}
    text = plain(render(weakened=weakened))
    assert (
        "At a lora_scale of 1.0 the twin loses rhythm and harmony that the base model has, at 0.5 it does not." in text
    )
    weakened["still_lost"] = ["harmony"]
    assert "at 0.5 it still loses harmony. So" in plain(render(weakened=weakened))
    weakened |= {"still_lost": ["rhythm", "harmony"], "less_lost": ["rhythm"]}
    assert "at 0.5 it still loses rhythm and harmony, though less of rhythm. So" in plain(render(weakened=weakened))
    assert "loses" not in plain(render(weakened=None))


@pytest.mark.parametrize("word", ["learned", "weak", "overfitted", "lost", "too little data"])
def test_every_verdict_is_told_with_its_advice(word: str) -> None:
    text = render(verdict={"verdict": word, "sentence": "It is so.", "advice": "Do this."})
    assert word.capitalize() in text and "It is so." in text and "Do this." in text


def test_the_own_song_is_heard_beside_the_pieces_of_the_same_prompt() -> None:
    pairs = [
        {"prompt": prompt, "without": f"without_{n}.mp3", "with_twin": f"with_{n}.mp3"} for n, prompt in enumerate("xy")
    ]
    clips = [{"name": "own_0.mp3", "song": 1, "prompt": "y"}, {"name": "own_1.mp3", "song": 0, "prompt": "z"}]
    songs = data(song(0, "Dawn"), song(1, "Night Drive", held_out=True))
    text = render(data=songs, comparisons=pairs, own_clips=clips)
    first, second = text.split("“y”")
    assert "your song Night Drive, which the twin never heard" in second
    order = [second.index(label) for label in ("your song", "base model, without", "with the twin")]
    assert order == sorted(order) and "your song" in first and second.count("<audio") == 3


def test_the_picture_says_where_the_twin_stands() -> None:
    text = render(resemblance=NEARNESS, heard=HEARD)
    picture = re.findall(r'<svg class="standing".*?</svg>', text)
    assert len(picture) == 1
    description = re.findall(r"<desc[^>]*>(.*?)</desc>", picture[0])[0]
    assert "How it sounds: 62 % of the way from the base model to your music, good." in description
    assert "Pulse: 17 % of the way in the other direction, bad." in description
    assert "Tones that last: it cannot be told" in description
    assert 'role="img"' in picture[0] and "standing_title" in picture[0]
    assert not re.search(r"#[0-9a-f]{3,6}|https?:|style=", picture[0])
    assert re.search(r"through the model&#39;s codec.*?3\.000.*?rating good", text)


def test_a_gain_that_may_be_chance_is_not_good() -> None:
    uncertain = NEARNESS | {"with_twin": {"value": 5.0, "low": 1.0, "high": 11.0}, "codec": None}
    assert "62 % of the way from the base model to your music, fair" in render(resemblance=uncertain)
    row = gain(0.05, low=-0.01, high=0.11)
    assert ratings.gain_on_held_out(row).word == "fair" and ratings.gain_on_held_out(gain(0.05)).word == "good"
    assert ratings.gain_on_held_out(gain(-0.05)).word == "bad"


def test_each_song_has_its_gain_tempo_key_and_caption_with_their_sources() -> None:
    words = [
        {"text": "techno", "source": "metadata", "segments": 8},
        {"text": "synth", "source": "tagger", "segments": 3},
    ]
    songs = data(song(0, "Dawn", words=words), song(1, "Dusk", words=[], held_out=True))
    measured = [{"song": 0, "gain": 0.043}]
    text = plain(render(data=songs, trained_on=gain(0.04, by_song=measured), held_out=gain(0.01)))
    assert "Dawn 3:07" in text and "+4.3 % good" in text and "not measured" in text
    assert "95.0 or 190.1 bpm (measured, 96 % sure) fair" in text
    assert "A minor (measured, but too unsure to be used, 31 % sure) bad" in text
    unread = plain(render(data=data(song(0, "Dawn", tempo=songs["by_song"][0]["tempo"] | {"source": None}))))
    assert "bpm (measured, and not used: the stated value could not be read, 96 % sure) bad" in unread
    assert "techno (you)" in text and "synth (the tagger heard it, 3 of 8 segments)" in text
    assert "neither genre nor instruments are known bad" in text


def test_every_gain_is_judged_with_its_threshold() -> None:
    text = plain(render(held_out=gain(0.05), trained_on=gain(-0.01), other_music=gain(-0.07), data=data(song(0, "a"))))
    assert re.search(r"\+5\.0 % \+4\.0 % to \+6\.0 % good good: at least 0\.5 %", text)
    assert "-1.0 % -2.0 % to +0.0 % bad" in text and "fair good: worse by less than 5 %" in text
    assert "1 song: bad good: 10 or more" in text and "100.0 s trained on" in text


def test_the_loss_that_rose_again_is_bad() -> None:
    assert ratings.lost_again([(0, 1.0), (50, 0.8), (100, 0.95)]) == ratings.Rating(
        "bad", "good: less than 10 % of the best gain lost again; fair: less than 30 %"
    )
    assert ratings.lost_again([(0, 1.0), (50, 1.1)]) is None
    good = ratings.lost_again([(0, 1.0), (50, 0.8)])
    assert good is not None and good.word == "good"


def test_songs_are_named_by_title_tag_or_file_name_and_never_by_path() -> None:
    files: list[dict[str, Any]] = [
        {
            "source": "/data/uploads/ada/1/track_01.wav",
            "metadata": {"Title": "Night Drive"},
            "embedded": {"title": "x"},
        },
        {"source": "/data/uploads/ada/1/track_02.wav", "metadata": {}, "embedded": {"title": "Dawn"}},
        {"source": "https://example.com/a/My%20Song.final.mp3", "metadata": {}},
        {"source": "/data/uploads/ada/2/dawn.flac", "metadata": {"title": "Dawn"}, "embedded": None},
        {"source": "https://example.com/", "metadata": {}},
    ]
    assert song_names(files) == ["Night Drive", "Dawn (1)", "My Song.final", "Dawn (2)", "example"]


@pytest.mark.parametrize(
    ("position", "word"), [(1, "good"), (0.5, "good"), (0.49, "fair"), (0, "fair"), (-0.01, "bad")]
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_twin_farther_from_the_music_than_the_base_model_is_bad(position: float, word: str, mirrored: bool) -> None:
    assert ratings.way(2 - position if mirrored else position).word == word


def test_what_the_codec_cannot_hold_is_not_asked_of_the_twin() -> None:
    assert ratings.way(0.3).word == "fair" and ratings.way(0.3, goal=0.5).word == "good"


def test_the_difference_pair_by_pair_decides_whether_it_may_be_chance() -> None:
    overlapping = NEARNESS | {"own": None, "codec": None, "with_twin": value(4.0, 7.0)}
    certain = overlapping | {"nearer": {"value": 6.0, "low": 4.0, "high": 8.0}}
    chance = overlapping | {"nearer": {"value": 6.0, "low": -1.0, "high": 13.0}}
    assert "60 % of the way from the base model to your music, good" in render(resemblance=certain)
    assert "60 % of the way from the base model to your music, fair" in render(resemblance=chance)


def test_the_version_that_is_the_twin_is_marked_in_the_curve() -> None:
    recipe = {"rank": 16, "learning_rate": 1e-4, "batch": 4}
    training: dict[str, Any] = {"recipe": recipe, "steps": 70, "total_steps": 100, "seconds": 9.5, "loss": [[70, 0.5]]}
    training["held_out_loss"] = [[0, 1.0], [40, 0.8], [70, 1.1]]
    earlier = render(training=training)
    assert 'class="kept"' not in earlier and "rating bad" in earlier
    kept = {"keep": "best", "step": 40, "reason": "The twin is the version of step 40."}
    text = render(training=training | {"kept": kept, "stopped_early": "Training stopped at step 70."})
    assert "The twin is the version of step 40. Training stopped at step 70." in text and "the twin, step 40" in text
    # What was lost after step 40 is not the twin's.
    assert '<line class="kept"' in text and "rating bad" not in text
    alone = training | {"held_out_loss": [], "kept": kept | {"reason": "No song was held out."}, "stopped_early": None}
    assert '<line class="kept"' not in render(training=alone) and "No song was held out." in render(training=alone)


def test_the_recommended_scale_is_named() -> None:
    gains = [{"scale": scale, "gain": gain} for scale, gain in ((0.5, 0.02), (1.0, 0.03), (1.5, 0.04))]
    text = plain(render(scales={"gains": gains, "recommended": 1.5, "examples": 4, "draws": 2}))
    assert re.search(r"1\.0 \+3\.0 % 1\.5 \(recommended\) \+4\.0 %", text)


def test_what_one_step_predicts_is_told_apart() -> None:
    rows = [
        {"time": 0.8, "levels": {"without": 0.1, "with_twin": 0.5}, "other": {"without": 0.2, "with_twin": 0.15}},
        {"time": 0.5, "levels": {"without": None, "with_twin": None}, "other": {"without": 0.2, "with_twin": 0.2}},
    ]
    text = plain(render(explained={"sample": "held_out", "level_channels": 4, "rows": rows}))
    assert "loudness, from 80 % noise 0.100 0.500 good" in text and "all else, from 80 % noise 0.200 0.150 bad" in text
    assert "all else, from 50 % noise 0.200 0.200 fair" in text and "loudness, from 50 %" not in text
