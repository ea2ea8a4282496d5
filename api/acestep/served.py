"""The models of this service by the names that ACE-Step's clients know them by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from api.routes.handler import Front
from contract import GenerateRequest


@dataclass(frozen=True)
class ServedModels:
    """The models that are served.

    Attributes:
        backends: by the names of their checkpoints; by their own where two checkpoints have one name.
        default: the default backend.
    """

    backends: Mapping[str, str]
    default: str

    @property
    def names(self) -> dict[str, str]:
        """The backends by every name that a request may give."""
        return {**self.backends, **{backend: backend for backend in self.backends.values()}}

    def name_of(self, take: GenerateRequest) -> str:
        """The name of the model that a request chooses."""
        chosen = take.backend_override or self.default
        return next((name for name, backend in self.backends.items() if backend == chosen), chosen)


async def served_models(front: Front) -> ServedModels:
    checkpoints = {row.name: row.checkpoint for row in await front.runners.describe()}
    names = Counter(checkpoints.values())
    backends = {name if names[name] == 1 else backend: backend for backend, name in checkpoints.items()}
    return ServedModels(backends, front.settings.music_backend)
