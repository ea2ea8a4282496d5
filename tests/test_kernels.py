"""What is relied on of the kernels underneath, which differ from processor to processor."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv1d, linear

import models  # noqa: F401 - chooses the kernels' modes


@pytest.mark.parametrize(("wide", "deep"), [(256, 256), (1024, 256), (1024, 1024), (256, 1024)])
def test_a_row_of_a_product_is_the_same_to_the_bit_among_any_number(wide: int, deep: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, rows = (torch.randn(count, deep, generator=generator) for count in (wide, 64))
    few = linear(rows[:4], weight)
    assert [n for n in range(8, 65, 4) if not torch.equal(linear(rows[:n], weight)[:4], few)] == []


@pytest.mark.parametrize(("channels", "width", "stride"), [(16, 8, 4), (16, 16, 8), (32, 10, 5), (64, 4, 2)])
def test_convolutions_in_half_precision_are_near(channels: int, width: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(0)
    sound = torch.randn(2, channels, 1000, generator=generator)
    kernel = torch.randn(2 * channels, channels, width, generator=generator)
    exact = conv1d(sound, kernel, stride=stride)
    half = conv1d(sound.bfloat16(), kernel.bfloat16(), stride=stride).float()
    assert (half - exact).norm() < 0.01 * exact.norm()
