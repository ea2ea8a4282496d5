"""ACE-Step 1.5 (Gong et al., 2025), loaded from diffusers' `AceStepPipeline` format.

The pipeline's parts are used, not its call: that takes one duration, tempo, seed and adapter for a whole batch, and
an item's audio depends on its batch mates. `sampling` denoises rows of their own kind together instead.
"""

from models.ace_step.model import AceStep

__all__ = ["AceStep"]
