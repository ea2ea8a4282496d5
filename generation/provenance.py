"""The provenance of a generated file: that it is AI-generated, by which model and twins, how, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from contract import OutputFormat

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
    """

    backend: str
    base: str
    seed: int
    twins: tuple[str, ...] = ()
    made_at: datetime | None = None
    bpm: int | None = None

    def comment(self) -> str:
        """One line of `name=value` pairs, separated by `; `."""
        facts = {
            "backend": self.backend,
            "base": self.base,
            **({"twin": ",".join(self.twins)} if self.twins else {}),
            **({} if self.bpm is None else {"bpm": str(self.bpm)}),
            "seed": str(self.seed),
            "made": self._time().isoformat(timespec="seconds"),
        }
        return "; ".join([KIND, *(f"{name}={value}" for name, value in facts.items())])

    def tags(self, output_format: OutputFormat) -> dict[str, str]:
        """Tags by libsndfile's names, which writes them as RIFF INFO, Vorbis comments or ID3."""
        # LAME writes the ID3 field for a year.
        date = f"{self._time():%Y}" if output_format == "mp3" else self._time().isoformat(timespec="seconds")
        return {"comment": self.comment(), "genre": KIND, "software": SOFTWARE, "date": date}

    def _time(self) -> datetime:
        return self.made_at or datetime.now(UTC)
