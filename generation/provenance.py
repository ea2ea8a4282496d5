"""The provenance of a generated file: that it is AI-generated, by which model and twins, how, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from contract import KEEPS_SOURCE, OutputFormat, Task

SOFTWARE = "Producer Twin"
KIND = "AI-generated"


@dataclass(frozen=True)
class Provenance:
    """How a track was generated.

    Attributes:
        backend: its name in the runner table.
        base: the checkpoint as configured.
        seed: of the sampling.
        twins: as `producer:model@version`; several for a blend, none for the base model.
        made_at: now if left out.
        bpm: the tempo that the model was asked for, by the request or by the twin's default.
        key: the key that the model was asked for.
        bars: of a loop.
        task: how the track came about.
        source: the path of the recording that was edited, or its digest.
        reference: the path of the recording that the track follows, or its digest.
    """

    backend: str
    base: str
    seed: int
    twins: tuple[str, ...] = ()
    made_at: datetime | None = None
    bpm: int | None = None
    key: str | None = None
    bars: int | None = None
    task: Task = "text"
    source: str | None = None
    reference: str | None = None

    @property
    def keeps_source(self) -> bool:
        """Whether a part of the file is the source's own sound."""
        return self.task in KEEPS_SOURCE

    def comment(self) -> str:
        """One line of `name=value` pairs, separated by `; `."""
        facts = {
            "backend": self.backend,
            "base": self.base,
            **({"twin": ",".join(self.twins)} if self.twins else {}),
            **({} if self.bpm is None else {"bpm": str(self.bpm)}),
            **({} if self.key is None else {"key": self.key}),
            **({} if self.bars is None else {"bars": str(self.bars)}),
            **({} if self.task == "text" else {"task": self.task}),
            **({} if self.source is None else {"source": _quoted(self.source)}),
            **({} if self.reference is None else {"reference": _quoted(self.reference)}),
            "seed": str(self.seed),
            "made": self._time().isoformat(timespec="seconds"),
        }
        return "; ".join([KIND, *(f"{name}={value}" for name, value in facts.items())])

    def tags(self, output_format: OutputFormat) -> dict[str, str]:
        """Tags by libsndfile's names, which writes them as RIFF INFO, Vorbis comments or ID3; for M4A by FFmpeg's."""
        if output_format == "m4a":
            tempo = {} if self.bpm is None else {"tmpo": str(self.bpm)}
            return {
                "comment": self.comment(),
                "genre": KIND,
                "date": self._time().isoformat(timespec="seconds"),
            } | tempo
        # LAME writes the ID3 field for a year.
        date = f"{self._time():%Y}" if output_format == "mp3" else self._time().isoformat(timespec="seconds")
        return {"comment": self.comment(), "genre": KIND, "software": SOFTWARE, "date": date}

    def _time(self) -> datetime:
        return self.made_at or datetime.now(UTC)


def _quoted(name: str) -> str:
    """A path as in a URL, so that it holds none of the comment's separators."""
    return quote(name, safe="/:")
