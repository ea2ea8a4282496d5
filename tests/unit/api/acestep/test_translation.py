"""ACE-Step's requests as requests of this service: names, aliases, defaults, and what has no effect."""

from __future__ import annotations

from typing import Any

import pytest

from api.acestep.translation import translate
from contract import GenerateRequest
from core.errors import Refusal

MODELS = {"acestep-v15-turbo": "ace_step", "ace_step": "ace_step", "musicgen": "musicgen"}


def take(**body: Any) -> GenerateRequest:
    """The first take of a request that has a prompt."""
    return translate({"prompt": "upbeat pop song"} | body, MODELS).takes[0]


def test_the_defaults_are_ace_steps() -> None:
    task = translate({"prompt": "upbeat pop song"}, MODELS)
    assert len(task.takes) == 2 and task.ignored == {}
    first, second = task.takes
    assert (first.output_format, first.lyrics, first.bpm, first.lora_id) == ("mp3", "", None, None)
    assert "duration_seconds" not in first.model_fields_set  # the service's own default
    assert first.seed != second.seed


@pytest.mark.parametrize(
    "body",
    [
        {"audio_duration": 30, "key_scale": "C Major", "time_signature": "4", "bpm": 120, "inference_steps": 8},
        {"duration": 30, "keyscale": "C Major", "timesignature": "4", "bpm": 120, "inference_steps": 8},
        {"audioDuration": 30, "keyScale": "C Major", "timeSignature": "4", "bpm": 120, "inferenceSteps": 8},
        {
            "target_duration": 30,
            "metas": {"keyscale": "C Major", "timesignature": "4", "bpm": 120},
            "inference_steps": 8,
        },
        {"metadata": {"duration": 30, "key_scale": "C Major", "time_signature": 4, "bpm": 120}, "inference_steps": 8},
        {
            "user_metadata": '{"duration": 30, "keyscale": "C", "timesignature": "4/4", "bpm": 120}',
            "inference_steps": 8,
        },
        {"audio_duration": "30", "key_scale": "C Major", "time_signature": "4", "bpm": "120", "inference_steps": "8"},
    ],
)
def test_every_name_of_a_field_is_known(body: dict[str, Any]) -> None:
    task = translate({"caption": "upbeat pop song", "lyrics": "Hello world"} | body, MODELS)
    made = task.takes[0]
    assert (made.prompt, made.lyrics, made.duration_seconds) == ("upbeat pop song", "Hello world", 30)
    assert (made.key, made.time_signature, made.bpm, made.steps) == ("C major", "4", 120, 8)
    assert task.ignored == {}


def test_a_field_beside_metas_goes_before_theirs() -> None:
    assert take(bpm=90, metas={"bpm": 120}).bpm == 90
    assert take(bpm="", metas={"bpm": 120}).bpm == 120


def test_the_language_of_the_lyrics() -> None:
    assert take(vocal_language="ja").vocal_language == "ja"
    assert take(metas={"language": "YUE"}).vocal_language == "yue"
    assert take().vocal_language is None
    task = translate({"prompt": "x", "vocalLanguage": "auto"}, MODELS)
    assert task.takes[0].vocal_language is None and "auto" in task.ignored["vocal_language"]


@pytest.mark.parametrize("seconds", [None, 0, -1, "", "-1"])
def test_a_length_of_the_models_choice(seconds: Any) -> None:
    assert "duration_seconds" not in take(audio_duration=seconds).model_fields_set


@pytest.mark.parametrize(
    ("body", "seeds"),
    [
        ({"use_random_seed": False, "seed": 7, "batch_size": 3}, [7, 8, 9]),
        ({"use_random_seed": "false", "seed": "7,100", "batch_size": "3"}, [7, 100, 101]),
        ({"useRandomSeed": False, "seed": "1,2,3", "batchSize": 2}, [1, 2]),
        ({"use_random_seed": False, "seed": 2**32 - 1, "batch_size": 2}, [2**32 - 1, 0]),
    ],
)
def test_seeds(body: dict[str, Any], seeds: list[int]) -> None:
    assert [each.seed for each in translate({"prompt": "x"} | body, MODELS).takes] == seeds


def test_a_random_seed_is_chosen_here_so_that_it_can_be_told() -> None:
    for body in ({"seed": 7}, {"use_random_seed": False, "seed": -1}, {"use_random_seed": False}):
        seeds = [each.seed for each in translate({"prompt": "x", "batch_size": 8} | body, MODELS).takes]
        assert all(seed is not None and 0 <= seed < 2**32 for seed in seeds) and len(set(seeds)) == 8


def test_a_twin_is_named_by_a_field_or_by_the_model() -> None:
    assert take(lora_id="ada:night", lora_scale=0.5).strengths == {"ada:night": 0.5}
    assert take(model="acestep-v15-turbo+ada:night").strengths == {"ada:night": 1}
    assert take(model="+ada:night").lora_id == "ada:night"
    assert take(model="acestep-v15-turbo+ada:night", lora_id="bob:dawn").lora_id == "bob:dawn"
    blend = '[{"lora_id": "ada:night"}, {"lora_id": "bob:dawn", "weight": 0.5}]'
    assert list(take(loras=blend).strengths) == ["ada:night", "bob:dawn"]


def test_a_model_is_a_backend() -> None:
    assert take(model="musicgen").backend_override == "musicgen"
    assert take(model="acestep-v15-turbo").backend_override == "ace_step"
    assert take(model_name="musicgen").backend_override == take(ditModel="musicgen").backend_override == "musicgen"
    task = translate({"prompt": "x", "model": "acestep-v15-base"}, MODELS)
    assert task.takes[0].backend_override is None and "acestep-v15-base" in task.ignored["model"]


def test_what_has_no_effect_is_told() -> None:
    body = {"thinking": True, "lm_temperature": 0.85, "timesteps": "0.9,0", "infer_method": "sde", "colour": "red"}
    task = translate({"prompt": "jazz"} | body, MODELS)
    assert task.ignored.keys() == body.keys()
    assert "language model" in task.ignored["thinking"] and "not a field" in task.ignored["colour"]
    assert translate({"prompt": "x", "audio_format": "aac"}, MODELS).ignored.keys() == {"audio_format"}


def test_a_description_is_used_as_the_prompt() -> None:
    task = translate({"description": "a soft Bengali love song"}, MODELS)
    assert task.takes[0].prompt == "a soft Bengali love song" and "sample_query" in task.ignored
    assert translate({"prompt": "x", "sample_query": "y"}, MODELS).takes[0].prompt == "x"


def test_a_random_sample_fills_what_is_left_out() -> None:
    made = translate({"sample_mode": True, "bpm": 99}, MODELS).takes[0]
    assert made.prompt and made.bpm == 99 and made.duration_seconds >= 60


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "prompt: it is missing"),
        ({"prompt": "  "}, "prompt: it is blank"),
        ({"prompt": "x", "audio_duration": "long"}, "audio_duration: "),
        ({"prompt": "x", "audio_duration": 10**400}, "audio_duration: "),
        ({"prompt": "x", "inference_steps": 999}, "inference_steps: "),
        ({"prompt": "x", "guidance_scale": "much"}, "guidance_scale: "),
        ({"prompt": "x", "key_scale": "H sharp"}, "key_scale: "),
        ({"prompt": "x", "bpm": 9000}, "bpm: "),
        ({"prompt": "x", "batch_size": 9}, "batch_size: 9 is not from 1 to 8"),
        ({"prompt": "x", "batch_size": "two"}, "batch_size: "),
        ({"prompt": "x", "use_random_seed": False, "seed": "one"}, "seed: "),
        ({"prompt": "x", "use_random_seed": "perhaps"}, "use_random_seed: "),
        ({"prompt": "x", "task_type": "sing"}, "task_type: "),
        ({"prompt": "x", "src_audio_path": "/etc/passwd"}, "src_audio_path: "),
        ({"prompt": "x", "ctxAudioPath": "/etc/passwd"}, "src_audio_path: "),
        ({"prompt": "x", "metas": "{"}, "metas: it is not valid JSON"),
        ({"prompt": "x", "metas": [1]}, "metas: it must be an object"),
        ({"prompt": "x", "lora_id": "nobody"}, "lora_id: "),
        ({"prompt": "x", "loras": "{"}, "loras: it is not valid JSON"),
    ],
)
def test_bad_input_is_named_as_the_client_named_it(body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal) as refused:
        translate(body, MODELS)
    assert refused.value.status == 400 and refused.value.message.startswith(sentence), refused.value.message
