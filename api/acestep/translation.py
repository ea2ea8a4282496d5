"""Translates ACE-Step's `/release_task` to requests of `POST /generate`."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from api.acestep import editing
from api.acestep.fields import Fields
from api.acestep.samples import SAMPLES
from contract import LANGUAGE_PATTERN, GenerateRequest
from contract.validation import validated
from core.errors import Refusal
from core.text import shown

MAX_BATCH = 8
DEFAULT_BATCH = 2
_SEEDS = 2**32

# ACE-Step's names of fields that are passed on, by the service's names.
_PASSED = {
    "lyrics": "lyrics",
    "bpm": "bpm",
    "key": "key_scale",
    "time_signature": "time_signature",
    "vocal_language": "vocal_language",
    "duration_seconds": "audio_duration",
    "steps": "inference_steps",
    "guidance": "guidance_scale",
    "shift": "shift",
    "lora_id": "lora_id",
    "lora_scale": "lora_scale",
}
_THEIR_NAMES = _PASSED | editing.NAMES
_FORMATS = ("mp3", "wav", "flac", "opus")
_NO_LANGUAGE_MODEL = "there is no language model here"
# Fields of ACE-Step that have no effect here, and why.
_WITHOUT_EFFECT = {
    **dict.fromkeys(
        (
            *("thinking", "use_format", "use_cot_caption", "use_cot_language", "use_cot_metas", "constrained_decoding"),
            *("constrained_decoding_debug", "allow_lm_batch", "lm_model_path", "lm_backend", "lm_temperature"),
            *("lm_cfg_scale", "lm_negative_prompt", "lm_top_k", "lm_top_p", "lm_repetition_penalty"),
            *("lm_batch_chunk_size", "audio_code_string", "temperature"),
        ),
        _NO_LANGUAGE_MODEL,
    ),
    "infer_method": "the sampler is Euler's",
    "timesteps": "timesteps follow from inference_steps and shift",
    "use_adg": "guidance is adaptive projected guidance",
    "cfg_interval_start": "guidance holds for all steps",
    "cfg_interval_end": "guidance holds for all steps",
}
_LANGUAGE = re.compile(LANGUAGE_PATTERN)


@dataclass(frozen=True)
class Translation:
    """A task of ACE-Step.

    Attributes:
        takes: a request for each track of the batch.
        ignored: why a field that was sent has no effect, by the field's name.
    """

    takes: list[GenerateRequest]
    ignored: dict[str, str]


def translate(body: Mapping[str, Any], models: Mapping[str, str], files: Set[str] = frozenset()) -> Translation:
    """The requests for a task.

    Args:
        models: the backends by the names of their checkpoints, and by their own.
        files: which of `source` and `reference` came as files.

    Raises:
        Refusal: 400, which names ACE-Step's field.
    """
    fields, ignored = Fields(body), dict[str, str]()
    fields.get("ai_token")  # api.acestep.body_token reads it
    wanted: dict[str, Any] = {ours: fields.get(theirs) for ours, theirs in _PASSED.items()}
    wanted["vocal_language"] = _language(fields, ignored)
    wanted["prompt"] = _prompt(fields, wanted, ignored)
    wanted["output_format"] = _format(fields, ignored)
    _choose_model(fields, wanted, models, ignored)
    if (loras := fields.get("loras")) is not None:
        wanted["loras"] = _parsed(loras, "loras")
    wanted |= editing.read_editing_fields(fields, files, ignored)
    if _is_unset(wanted["duration_seconds"]):
        del wanted["duration_seconds"]
    elif wanted["task"] != "text":
        del wanted["duration_seconds"]
        ignored["audio_duration"] = "the recording decides how long the track is"
    seeds = _seeds(fields)
    for name, reason in _WITHOUT_EFFECT.items():
        if fields.get(name) is not None:
            ignored[name] = reason
    ignored |= dict.fromkeys(sorted(map(shown, fields.unread)), "it is not a field of this API")
    try:
        request = validated(GenerateRequest, wanted)
    except Refusal as refusal:
        raise Refusal(refusal.status, in_their_words(refusal.message)) from None
    return Translation([request.model_copy(update={"seed": seed}) for seed in seeds], ignored)


def _prompt(fields: Fields, wanted: dict[str, Any], ignored: dict[str, str]) -> Any:
    """The prompt: the request's own, or that of a random sample, whose other fields then fill the request's gaps."""
    prompt, query, sampled = fields.get("prompt"), fields.get("sample_query"), fields.flag("sample_mode", False)
    if prompt is None and query is not None:
        ignored["sample_query"] = f"{_NO_LANGUAGE_MODEL}; it is used as the prompt"
        return query
    if query is not None:
        ignored["sample_query"] = f"{_NO_LANGUAGE_MODEL}; the prompt is used"
    if prompt is None and sampled:
        sample = secrets.choice(SAMPLES)
        for ours, theirs in _PASSED.items():
            if wanted[ours] is None and theirs in sample:
                wanted[ours] = sample[theirs]
        return sample["caption"]
    return prompt


def _format(fields: Fields, ignored: dict[str, str]) -> str:
    wanted = fields.get("audio_format")
    name = str(wanted or "mp3").lower()
    if name not in _FORMATS:
        ignored["audio_format"] = f"{shown(name)} is not made here; the tracks are mp3"
        return "mp3"
    return name


def _language(fields: Fields, ignored: dict[str, str]) -> str | None:
    """The language of the lyrics. Clients also send names such as `auto`, which leave it to the model."""
    sent = fields.get("vocal_language")
    language = None if sent is None else str(sent).lower()
    if language is None or _LANGUAGE.fullmatch(language):
        return language
    ignored["vocal_language"] = f"{shown(language)} is not an ISO 639 code such as en or ja"
    return None


def _choose_model(fields: Fields, wanted: dict[str, Any], models: Mapping[str, str], ignored: dict[str, str]) -> None:
    """`model` is a checkpoint; `checkpoint+producer:model` names a twin too, for clients without `lora_id`."""
    name, plus, lora_id = str(fields.get("model") or "").partition("+")
    if plus and wanted["lora_id"] is None:
        wanted["lora_id"] = lora_id
    if name in models and wanted["lora_id"] is None:
        wanted["backend_override"] = models[name]
    elif name and name not in models:
        ignored["model"] = f"{shown(name)} is not served here; /acestep/v1/models lists the models"


def _seeds(fields: Fields) -> list[int]:
    """A seed for each track. With one seed the tracks have it and those after it; several go to the first tracks."""
    size = fields.number("batch_size", DEFAULT_BATCH)
    if not 1 <= size <= MAX_BATCH:
        raise Refusal(400, f"batch_size: {shown(str(size))} is not from 1 to {MAX_BATCH}")
    sent = fields.get("seed")
    if fields.flag("use_random_seed", True) or sent is None:
        return [secrets.randbelow(_SEEDS) for _ in range(size)]
    try:
        seeds = [int(part) for part in str(sent).split(",") if part.strip()]
    except ValueError:
        seeds = []
    if not seeds or any(not -1 <= seed < _SEEDS for seed in seeds):
        raise Refusal(400, f"seed: {shown(str(sent))} is not a number from 0 to {_SEEDS - 1}, or several with commas")
    seeds = [secrets.randbelow(_SEEDS) if seed == -1 else seed for seed in seeds]
    return [*seeds[:size], *((seeds[-1] + 1 + more) % _SEEDS for more in range(size - len(seeds)))]


def _is_unset(seconds: Any) -> bool:
    """ACE-Step's clients send 0 or -1 for a length of the model's choice."""
    try:
        return seconds is None or float(seconds) <= 0
    except (TypeError, ValueError, OverflowError):
        return False


def _parsed(value: Any, name: str) -> Any:
    """A value that forms send as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise Refusal(400, f"{name}: it is not valid JSON") from None


def in_their_words(sentence: str) -> str:
    """The sentence with ACE-Step's names of the fields that it begins with."""
    fields, colon, rest = sentence.partition(":")
    return ", ".join(map(_their_name, fields.split(", "))) + colon + rest


def _their_name(field: str) -> str:
    """ACE-Step's name of a field, or of an item's in it, such as `tracks.0`."""
    name, dot, item = field.partition(".")
    return _THEIR_NAMES.get(name, name) + dot + item
