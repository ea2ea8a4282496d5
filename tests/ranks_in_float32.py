"""`training.ranks` with products in float32, in which a batch may be divided without rounding otherwise."""

from __future__ import annotations

from training import loop, ranks

loop._precision = lambda device: "no"

if __name__ == "__main__":
    ranks.main()
