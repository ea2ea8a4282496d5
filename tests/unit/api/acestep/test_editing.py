"""ACE-Step's tasks that start from a recording, as requests of this service."""

from __future__ import annotations

from typing import Any

import pytest

from api.acestep.translation import in_their_words, translate
from contract import GenerateRequest
from core.errors import Refusal

MODELS = {"acestep-v15-turbo": "ace_step", "ace_step": "ace_step"}
SONG = "/data/outputs/base/song.wav"


def take(**body: Any) -> GenerateRequest:
    return translate({"prompt": "drum fill", "src_audio_path": SONG} | body, MODELS).takes[0]


def test_repaint() -> None:
    made = take(task_type="repaint", repainting_start="2.5", repainting_end=4, src_audio_path=None, ctxAudioPath=SONG)
    assert (made.task, made.source, made.start, made.end) == ("repaint", SONG, 2.5, 4)
    whole = take(task_type="repaint", repainting_end=-1)
    assert (whole.start, whole.end, whole.injected_share) == (0, None, None)
    shares = [
        take(task_type="repaint", **options).injected_share
        for options in ({"repaint_strength": 0.75}, {"repaint_mode": "conservative"}, {"repaint_mode": "aggressive"})
    ]
    assert shares == [0.25, 1, 0]


def test_cover_and_extend() -> None:
    made = take(task_type="cover", audio_cover_strength=0.2, cover_noise_strength=0.1)
    assert (made.task, made.strength, made.noise_strength) == ("cover", 0.2, 0.1)
    assert take(task_type="extend", after=8).after == 8


@pytest.mark.parametrize(
    ("task", "body", "tracks"),
    [
        ("lego", {"track_name": "DRUMS"}, ["drums"]),
        ("extract", {"trackName": "backing vocals"}, ["backing_vocals"]),
        ("extract", {"instruction": "Extract the BACKING VOCALS track from the audio:"}, ["backing_vocals"]),
        ("complete", {"track_classes": ["Drums", "bass"]}, ["drums", "bass"]),
        ("complete", {"track_classes": '["drums", "bass"]'}, ["drums", "bass"]),
        ("complete", {"track_classes": "drums | bass"}, ["drums", "bass"]),
        ("complete", {"instruction": "Complete the input track with DRUMS | BASS:"}, ["drums", "bass"]),
    ],
)
def test_tracks_are_named(task: str, body: dict[str, Any], tracks: list[str]) -> None:
    made = translate({"prompt": "x", "src_audio_path": SONG, "task_type": task} | body, MODELS)
    assert (made.takes[0].task, made.takes[0].tracks) == (task, tracks) and not made.ignored


def test_the_url_of_a_track_is_its_path() -> None:
    url = "/v1/audio?path=%2Fdata%2Foutputs%2Fbase%2Fsong.wav"
    for sent in (url, f"http://127.0.0.1:3000/acestep{url}"):
        made = take(task_type="repaint", src_audio_path=sent, reference_audio_path=sent)
        assert made.source == made.reference == SONG


def test_a_file_goes_before_a_path() -> None:
    body = {"prompt": "x", "task_type": "cover", "src_audio_path": SONG, "reference_audio_path": SONG}
    task = translate(body, MODELS, {"source"})
    assert (task.takes[0].source, task.takes[0].reference) == (None, SONG)
    assert task.ignored == {"src_audio_path": "the file that was sent is used"}


def test_fields_of_other_tasks_are_told() -> None:
    body = {"audio_cover_strength": 1.0, "repainting_start": 0.0, "instruction": "Fill the audio semantic mask"}
    task = translate({"prompt": "x", "reference_audio_path": SONG} | body, MODELS)
    assert task.takes[0].task == "text" and task.takes[0].reference == SONG and task.ignored.keys() == body.keys()
    task = translate({"prompt": "x", "task_type": "repaint", "src_audio_path": SONG, "duration": 30}, MODELS)
    assert "recording" in task.ignored["audio_duration"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"task_type": "sing"}, "task_type: sing is not served"),
        ({"task_type": "repaint", "src_audio_path": None}, "src_audio_path: repaint needs a recording"),
        ({"src_audio_path": SONG}, "src_audio_path: text2music starts from no recording"),
        ({"task_type": "repaint", "repainting_start": -2}, "repainting_start: "),
        ({"task_type": "repaint", "repainting_start": 4, "repainting_end": 2}, "repainting_end: it must be after"),
        ({"task_type": "repaint", "repainting_end": "late"}, "repainting_end: "),
        ({"task_type": "repaint", "repaint_mode": "wild"}, "repaint_mode: "),
        ({"task_type": "repaint", "repaint_strength": "much"}, "repaint_strength: "),
        ({"task_type": "cover", "audio_cover_strength": 2}, "audio_cover_strength: "),
        ({"task_type": "extend"}, "before, after: "),
        ({"task_type": "lego"}, "track_classes: "),
        ({"task_type": "complete", "track_classes": "["}, "track_classes: it is not valid JSON"),
        ({"task_type": "complete", "track_classes": [7]}, "track_classes: send the names"),
        ({"task_type": "extract", "track_name": "kazoo"}, "track_classes"),
    ],
)
def test_bad_input_is_named_as_the_client_named_it(body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal) as refused:
        translate({"prompt": "x", "src_audio_path": SONG} | body, MODELS)
    assert refused.value.status == 400 and refused.value.message.startswith(sentence), refused.value.message


def test_sentences_of_the_service_name_ace_steps_fields() -> None:
    assert in_their_words("start, end: choose a longer window").startswith("repainting_start, repainting_end: ")
    assert in_their_words("source: it does not exist") == "src_audio_path: it does not exist"
    assert in_their_words("the disk is full") == "the disk is full"


def test_a_url_that_is_none_is_left_to_the_check_of_paths() -> None:
    take = translate({"prompt": "x", "task_type": "repaint", "src_audio_path": "http://[/v1/audio"}, MODELS).takes[0]
    assert take.source == "http://[/v1/audio"
