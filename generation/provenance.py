"""What a file says of where it comes from: that a model made it, which one, as whose twin, from which seed, when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from contract import OutputFormat

SOFTWARE = "Producer Twin"
KIND = "AI-generated"


@dataclass(frozen=True)
class Provenance:
    """`base` is the checkpoint as configured; `twins` are as `producer:model@version`, several for a blend."""

    backend: str
    base: str
    seed: int
    twins: tuple[str, ...] = ()
    made_at: datetime | None = None

    def comment(self) -> str:
        """All of it in a line, `; ` between and `=` within."""
        facts = {
            "backend": self.backend,
            "base": self.base,
            **({"twin": ",".join(self.twins)} if self.twins else {}),
            "seed": str(self.seed),
            "made": self._time().isoformat(timespec="seconds"),
        }
        return "; ".join([KIND, *(f"{name}={value}" for name, value in facts.items())])

    def tags(self, output_format: OutputFormat) -> dict[str, str]:
        """By libsndfile's names, which writes them as the format has them: RIFF INFO, Vorbis comments, ID3."""
        # ID3's field, as LAME writes it, is a year.
        date = f"{self._time():%Y}" if output_format == "mp3" else self._time().isoformat(timespec="seconds")
        return {"comment": self.comment(), "genre": KIND, "software": SOFTWARE, "date": date}

    def _time(self) -> datetime:
        return self.made_at or datetime.now(UTC)
