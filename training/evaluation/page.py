"""The twin report as a single HTML file, with its pictures and sounds embedded."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template, UndefinedError, select_autoescape

from storage import Damaged, NotFound, Storage, Unavailable, keys
from training.evaluation import ratings
from training.evaluation.pictures import curves, standing_picture
from training.evaluation.song_names import file_name
from training.evaluation.standing import standings

_SOURCES = {
    "metadata": "you",
    "name": "the file's name",
    "embedded": "the file's tags",
    "text": "the text file beside the segment",
    "gemini": "Gemini heard it",
    "tagger": "the tagger heard it",
    "analysis": "measured",
}
_TYPES = {"mp3": "audio/mpeg", "png": "image/png"}


def render(report: Mapping[str, Any], read: Callable[[str], bytes]) -> str:
    """The page as HTML.

    Args:
        report: the report's JSON object.
        read: returns a preview's bytes by its file name. If it raises `NotFound` or `Damaged`, the page lacks that one.

    Raises:
        ValueError: the report lacks a required field.
    """

    def embedded(name: str) -> str | None:
        try:
            data = read(name)
        except (NotFound, Damaged):
            return None
        return f"data:{_TYPES[name.rpartition('.')[2]]};base64,{base64.b64encode(data).decode()}"

    try:
        return template().render(
            report=report,
            embedded=embedded,
            clips=own_clips(report),
            gains=song_gains(report),
            standings=standings(report),
            sources=_SOURCES,
        )
    except (UndefinedError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"it is not a report: {error}") from error


@lru_cache(maxsize=1)
def template() -> Template:
    """The page's template, compiled."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    environment.filters["percent"] = lambda part: f"{100 * part:+.1f} %"
    environment.filters |= {"file_name": file_name, "clock": clock}
    environment.globals |= {"rate": ratings, "curves": curves, "standing_picture": standing_picture}
    return environment.get_template("report.html")


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 3:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def own_clips(report: Mapping[str, Any]) -> list[Mapping[str, Any] | None]:
    """For each comparison the own clip of the same caption, else the next one; None if there are no clips."""
    clips = report.get("own_clips") or []
    by_prompt = {clip["prompt"]: clip for clip in clips}
    return [
        by_prompt.get(pair["prompt"]) or (clips[number % len(clips)] if clips else None)
        for number, pair in enumerate(report.get("comparisons") or [])
    ]


def song_gains(report: Mapping[str, Any]) -> dict[int, float]:
    """The gain of each song that was measured, by the song's index."""
    rows = [report.get("trained_on") or {}, report.get("held_out") or {}]
    return {song["song"]: song["gain"] for row in rows for song in row.get("by_song", [])}


def publish(report: Mapping[str, Any], storage: Storage, job_id: str) -> None:
    """Store the page beside the report, for readers without a server, unless storage is unavailable."""
    with contextlib.suppress(Unavailable):
        text = render(report, lambda name: storage.get(keys.preview(job_id, name)))
        storage.put(keys.report_page(job_id), text.encode())
