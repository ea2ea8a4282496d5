"""The pictures of the report's page, as inline SVG. Their colours are those of the page's style, light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from training.evaluation.standing import Standing

_WIDTH, _HEIGHT, _MARGIN = 720, 240, 44
# The picture of the standing is narrow, so that its text can be read on a phone.
_TRACK_WIDTH, _TRACK_HEIGHT, _HEAD = 400, 58, 26
_BASE_X, _OWN_X = 130, 290
_FURTHEST = 0.62  # beyond the base model or the producer's music, as a share of the way between them

Points = Sequence[tuple[float, float]]


def curves(lines: Mapping[str, Points], kept: int | None = None) -> Markup:
    """An SVG of loss curves over steps. Each line's name is its CSS class.

    Args:
        kept: the step whose version is the twin, which is marked.
    """
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
    mark = Markup("")
    if kept is not None:
        x, _, _ = point(kept, high).partition(",")
        mark = Markup('<line class="kept" x1="{0}" x2="{0}" y1="8" y2="{1}"/>').format(x, _HEIGHT - 24)
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="Loss curves">{}{}{}{}</svg>').format(
        _WIDTH, _HEIGHT, Markup("").join(ticks), mark, Markup("").join(drawn), foot
    )


def standing_picture(measures: Sequence[Standing]) -> Markup:
    """The twin of each measure on a line from the base model to the producer's music."""
    height = _HEAD + _TRACK_HEIGHT * len(measures) + 22
    ends = Markup(
        '<text x="{}" y="14" text-anchor="middle">base model</text>'
        '<text x="{}" y="14" text-anchor="middle">your music</text>'
        '<line class="guide" x1="{}" x2="{}" y1="20" y2="{}"/><line class="guide" x1="{}" x2="{}" y1="20" y2="{}"/>'
    ).format(_BASE_X, _OWN_X, _BASE_X, _BASE_X, height - 24, _OWN_X, _OWN_X, height - 24)
    tracks = Markup("").join(_track(measure, _HEAD + number * _TRACK_HEIGHT) for number, measure in enumerate(measures))
    key = Markup(
        '<circle class="twin" cx="112" cy="{0}" r="5"/><text x="122" y="{1}">the twin</text>'
        '<path class="codec" d="M 192 {2} l 6 6 l -6 6 l -6 -6 z"/>'
        '<text x="203" y="{1}">your music through the codec</text>'
    ).format(height - 9, height - 5, height - 15)
    return Markup(
        '<svg class="standing" viewBox="0 0 {} {}" role="img" aria-labelledby="standing_title standing_text">'
        '<title id="standing_title">Where the twin stands between the base model and your music</title>'
        '<desc id="standing_text">{}</desc>{}{}{}</svg>'
    ).format(_TRACK_WIDTH, height, " ".join(described(measure) for measure in measures), ends, tracks, key)


def described(measure: Standing) -> str:
    """The twin's standing by one measure, as a sentence."""
    if measure.way is None or measure.rating is None:
        return f"{measure.title}: it cannot be told, as the base model and your music hardly differ in it."
    percent = round(100 * abs(measure.way))
    if measure.way < 0:
        return f"{measure.title}: {percent} % of the way in the other direction, {measure.rating.word}."
    return f"{measure.title}: {percent} % of the way from the base model to your music, {measure.rating.word}."


def _track(measure: Standing, top: float) -> Markup:
    middle = top + 34
    parts = [
        Markup('<text class="title" x="4" y="{}">{}</text>').format(top + 14, measure.title),
        Markup('<line class="track" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _x(-_FURTHEST), _x(1 + _FURTHEST), middle, middle
        ),
        Markup('<circle class="end" cx="{}" cy="{}" r="5"/>').format(_BASE_X, middle),
        Markup('<rect class="end" x="{}" y="{}" width="10" height="10"/>').format(_OWN_X - 5, middle - 5),
    ]
    if measure.codec is not None:
        parts.append(
            Markup('<path class="codec" d="M {:.1f} {:.1f} l 6 6 l -6 6 l -6 -6 z"/>').format(
                _x(measure.codec), middle - 6
            )
        )
    said = "hardly differ"
    if measure.way is not None:
        said = f"{100 * measure.way:.0f} % of the way"
        if measure.low is not None and measure.high is not None:
            parts.append(
                Markup('<line class="interval" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(
                    _x(measure.low), _x(measure.high), middle, middle
                )
            )
        parts.append(_twin(measure.way, middle))
    word = measure.rating.word if measure.rating else ""
    parts.append(
        Markup('<text class="{}" x="{}" y="{}" text-anchor="end">{}</text>').format(
            word, _TRACK_WIDTH - 4, top + 14, f"{said}: {word}" if word else said
        )
    )
    return Markup("").join(parts)


def _twin(way: float, middle: float) -> Markup:
    """A dot, or an arrow if it is further away than the picture shows."""
    x = _x(way)
    if way < -_FURTHEST:
        return Markup('<path class="twin" d="M {:.1f} {:.1f} l -9 6 l 9 6 z"/>').format(x + 6, middle - 6)
    if way > 1 + _FURTHEST:
        return Markup('<path class="twin" d="M {:.1f} {:.1f} l 9 6 l -9 6 z"/>').format(x - 6, middle - 6)
    return Markup('<circle class="twin" cx="{:.1f}" cy="{:.1f}" r="6"/>').format(x, middle)


def _x(way: float) -> float:
    return _BASE_X + min(max(way, -_FURTHEST), 1 + _FURTHEST) * (_OWN_X - _BASE_X)
