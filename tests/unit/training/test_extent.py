"""How much is measured of a training, by its steps."""

from __future__ import annotations

from dataclasses import replace

from training.evaluation.extent import FULL, extent_of


def test_a_long_training_is_measured_in_full() -> None:
    assert extent_of(200) == extent_of(4000) == FULL
    for steps, seeds in ((199, 2), (50, 2), (49, 1), (5, 1)):
        assert extent_of(steps) == replace(FULL, seeds=seeds) and not extent_of(steps).missing()


def test_what_is_not_measured_of_a_few_steps_is_said() -> None:
    for steps in (0, 4):
        fewer, small = extent_of(steps).missing()
        assert "2 prompts" in fewer and "2 excerpts" in fewer and "2 draws" in fewer
        assert "lora_scale" in small and fewer.endswith("a training of fewer than 5 steps changes too little.")
