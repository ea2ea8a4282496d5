"""Server-sent events: lines to events."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class EventParser:
    """Collects the lines of a stream of server-sent events.

    Attributes:
        id: of the last event.
    """

    id: str | None = None
    _data: list[str] = field(default_factory=list)

    def feed(self, line: str) -> str | None:
        """The event's data if the line ends an event, else None."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self.id = value
        elif not line and self._data:
            data, self._data = "\n".join(self._data), []
            return data
        return None
