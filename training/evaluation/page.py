"""The twin report as a single HTML file, with its pictures and sounds embedded."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template, UndefinedError, select_autoescape
from markupsafe import Markup

from storage import Damaged, NotFound, Storage, Unavailable, keys

_WIDTH, _HEIGHT, _MARGIN = 720, 240, 44
_TYPES = {"mp3": "audio/mpeg", "png": "image/png"}

Points = Sequence[tuple[float, float]]


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
        return _template().render(report=report, embedded=embedded, curves=curves)
    except (UndefinedError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"it is not a report: {error}") from error


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    environment.filters["percent"] = lambda part: f"{100 * part:+.1f} %"
    return environment.get_template("report.html")


def publish(report: Mapping[str, Any], storage: Storage, job_id: str) -> None:
    """Store the page beside the report, for readers without a server, unless storage is unavailable."""
    with contextlib.suppress(Unavailable):
        text = render(report, lambda name: storage.get(keys.preview(job_id, name)))
        storage.put(keys.report_page(job_id), text.encode())


def curves(lines: Mapping[str, Points]) -> Markup:
    """An SVG of loss curves over steps. Each line's name is its CSS class."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return Markup("")
    last = max(step for step, _ in points) or 1
    low, high = min(value for _, value in points), max(value for _, value in points)
    span = (high - low) or abs(high) or 1.0

    def point(step: float, value: float) -> str:
        x = _MARGIN + step / last * (_WIDTH - _MARGIN - 8)
        y = 8 + (high - value) / span * (_HEIGHT - 32)
        return f"{x:.1f},{y:.1f}"

    drawn = [
        Markup('<polyline class="{}" points="{}"/>').format(name, " ".join(point(*values) for values in line))
        for name, line in lines.items()
        if line
    ]
    ticks = [
        Markup('<text x="{}" y="{}" text-anchor="end">{:.4g}</text>').format(
            _MARGIN - 6, 12 + share * (_HEIGHT - 32), high - share * span
        )
        for share in (0.0, 0.5, 1.0)
    ]
    foot = Markup('<text x="{}" y="{}">step 0</text><text x="{}" y="{}" text-anchor="end">{}</text>').format(
        _MARGIN, _HEIGHT - 4, _WIDTH - 8, _HEIGHT - 4, int(last)
    )
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="Loss curves">{}{}{}</svg>').format(
        _WIDTH, _HEIGHT, Markup("").join(ticks), Markup("").join(drawn), foot
    )
