"""The runner table: its rows, and how a request chooses one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Refusal
from core.settings import Settings

if TYPE_CHECKING:
    from models.base import Model
    from training.base import Trainer

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,31}$")


@dataclass(frozen=True)
class Backend:
    """A row of the runner table.

    Classes that need torch are named by `module:attribute`, and imported only in the processes that use them.

    Attributes:
        name: as in `backend_override`.
        service: the BentoML service that serves it.
        model: its `models.base.Model`.
        trainer: its `training.base.Trainer`.
        tiny: a function that writes a tiny checkpoint with random weights, used where no trained starter ships.
        checkpoint: the setting that names its checkpoint.
        max_seconds: the longest track that the model can generate.
        licence: the licence of the public weights.
        commercial_use: whether that licence allows commercial use.
        training_steps_per_second: the default steps of a training for each second of music; None if its trainer
            decides otherwise.
    """

    name: str
    service: Any
    model: str
    trainer: str
    tiny: str
    checkpoint: str
    max_seconds: float
    licence: str
    commercial_use: bool
    training_steps_per_second: float | None = None

    def load_model_class(self) -> type[Model]:
        return _load(self.model)

    def load_trainer_class(self) -> type[Trainer]:
        return _load(self.trainer)

    def load_tiny(self) -> Callable[[Path], None]:
        return _load(self.tiny)

    def checkpoint_name(self, settings: Settings) -> str:
        return getattr(settings, self.checkpoint)

    def longest(self, settings: Settings) -> float:
        """The longest track in seconds that a client may ask for."""
        return min(self.max_seconds, settings.max_duration_seconds or self.max_seconds)


class Table:
    """The backends by name, in the order in which the fallback tries them."""

    def __init__(self) -> None:
        self._rows: dict[str, Backend] = {}

    def register(self, backend: Backend) -> None:
        """Add a row. Raises `ValueError` if its name is invalid or taken."""
        if not _NAME.match(backend.name):
            raise ValueError(f"{backend.name!r} is not a valid backend name: a-z, then a-z 0-9 _, at most 32")
        if backend.name in self._rows:
            raise ValueError(f"there is a backend {backend.name} already")
        self._rows[backend.name] = backend

    def enabled(self, settings: Settings) -> dict[str, Backend]:
        """The backends that may be used. `ALLOW_NONCOMMERCIAL=false` excludes those without commercial use."""
        return {name: row for name, row in self._rows.items() if row.commercial_use or settings.allow_noncommercial}

    def choose(self, name: str | None, settings: Settings) -> Backend:
        """The named backend, or the default one.

        Raises:
            Refusal: 400, there is no enabled backend of that name.
        """
        enabled = self.enabled(settings)
        wanted = name or settings.music_backend
        if wanted not in enabled:
            field = "backend_override" if name else "MUSIC_BACKEND"
            raise Refusal(400, f"{field}: {wanted[:64]!r} is not a backend; use one of {', '.join(enabled)}")
        return enabled[wanted]

    def __getitem__(self, name: str) -> Backend:
        return self._rows[name]

    def __iter__(self) -> Iterator[Backend]:
        return iter(self._rows.values())


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
