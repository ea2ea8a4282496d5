"""The MusicGen runner."""

from __future__ import annotations

import bentoml

from core.configuration import service_config
from runners.base import Runner


@bentoml.service(**service_config("MusicGenRunner"))
class MusicGenRunner(Runner):
    backend = "musicgen"
