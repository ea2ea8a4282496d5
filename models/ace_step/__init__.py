"""ACE-Step 1.5 (Gong et al., 2025), loaded from diffusers' `AceStepPipeline` format.

The pipeline's components are used, but not its `__call__`, which takes one duration, tempo, seed and adapter for a
whole batch, and lets an item's audio depend on the other items. `sampling` denoises different rows together instead.
"""

from models.ace_step.model import AceStep

__all__ = ["AceStep"]
