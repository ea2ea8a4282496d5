"""The measurement of a training job's fixed costs."""

from __future__ import annotations

from benchmarks.job import stages


def test_each_stage_is_a_function_of_the_job() -> None:
    for owner, name, stage in stages():
        assert callable(getattr(owner, name)), stage
