"""Weight normalisation, which a model that is not trained needs once and not in every pass."""

from __future__ import annotations

import torch
from torch.nn.utils import remove_weight_norm


def fold_weight_norms(root: torch.nn.Module) -> None:
    """Replace normalised weights by their values. The module cannot be trained then."""
    for module in root.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
            module.requires_grad_(False)
