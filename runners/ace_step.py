"""The ACE-Step runner."""

from __future__ import annotations

import bentoml

from core.configuration import service_config
from runners.base import Runner


@bentoml.service(**service_config("AceStepRunner"))
class AceStepRunner(Runner):
    backend = "ace_step"
