"""The fields of `POST /generate` that say how a track comes about: its task, its source, and what it follows."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from contract.base import Request
from contract.tasks import TRACK_NAMES, Task, TrackName

LANGUAGE_PATTERN = "^([a-z]{2,3}|unknown)$"


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


VocalLanguage = Annotated[str, BeforeValidator(_lower), StringConstraints(pattern=LANGUAGE_PATTERN)]

# The fields of each task; `source` is required of all of these tasks, and may be a file of the form.
TASK_FIELDS: dict[Task, tuple[str, ...]] = {
    "text": (),
    "repaint": ("source", "start", "end", "injected_share"),
    "extend": ("source", "before", "after", "injected_share"),
    "cover": ("source", "strength", "noise_strength"),
    "complete": ("source", "tracks"),
    "lego": ("source", "start", "end", "tracks"),
    "extract": ("source", "tracks"),
    "melody": ("source",),
}
# Tasks whose track has the source's own samples but for the window that is made anew.
KEEPS_SOURCE: tuple[Task, ...] = ("repaint", "extend")
_FIELDS = tuple(dict.fromkeys(name for names in TASK_FIELDS.values() for name in names))
# Tasks whose track may be of another length than the source.
_FREE_LENGTH: tuple[Task, ...] = ("text", "melody")
_ONE_TRACK: tuple[Task, ...] = ("lego", "extract")


class EditingFields(Request):
    """A track's task with its options, the recording that it follows, and the language of its lyrics."""

    task: Task = "text"
    source: str | None = Field(None, min_length=1)
    start: float | None = Field(None, ge=0)
    end: float | None = Field(None, gt=0)
    before: float | None = Field(None, gt=0)
    after: float | None = Field(None, gt=0)
    strength: float | None = Field(None, ge=0, le=1)
    noise_strength: float | None = Field(None, ge=0, le=1)
    injected_share: float | None = Field(None, ge=0, le=1)
    tracks: list[TrackName] | None = Field(None, min_length=1, max_length=len(TRACK_NAMES))
    reference: str | None = Field(None, min_length=1)
    vocal_language: VocalLanguage | None = None
    keep_latents: bool | None = None

    @model_validator(mode="after")
    def _fields_belong_to_the_task(self) -> Self:
        for name in _FIELDS:
            if getattr(self, name) is not None and name not in TASK_FIELDS[self.task]:
                owners = [task for task, names in TASK_FIELDS.items() if name in names]
                raise ValueError(f"{name}: {self.task} has no such field; leave it out, or send task: {_or(owners)}")
        if "duration_seconds" in self.model_fields_set and self.task not in _FREE_LENGTH:
            raise ValueError(f"duration_seconds: the source decides how long a track of {self.task} is; leave it out")
        return self

    @model_validator(mode="after")
    def _window_is_whole(self) -> Self:
        if self.task == "repaint" and self.start is None and self.end is None:
            raise ValueError("start, end: send one or both; the seconds between them are made anew")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"end: it must be after start, which is {self.start:g} s")
        if self.task == "extend" and self.before is None and self.after is None:
            raise ValueError("before, after: send one or both; so many seconds are added to the source")
        return self

    @model_validator(mode="after")
    def _tracks_fit_the_task(self) -> Self:
        tracks = self.tracks or []
        if len(set(tracks)) < len(tracks):
            raise ValueError("tracks: a track is in it twice; name each once")
        if self.task in _ONE_TRACK and len(tracks) != 1:
            raise ValueError(f"tracks: {self.task} makes one track; send one of {', '.join(TRACK_NAMES)}")
        if self.task == "complete" and not tracks:
            raise ValueError(f"tracks: send those to add, of {', '.join(TRACK_NAMES)}")
        return self


def _or(names: list[Any]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
