"""Assumptions about the kernels of torch's libraries, which differ between processors."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.functional import linear
from torch.nn.utils import weight_norm

import models  # noqa: F401 - chooses the kernels' modes
from models.ace_step.codec import decode
from models.ace_step.model import AceStep
from models.base import run_to_end
from models.channels_last import use_channels_last
from models.checkpoints import resolve
from models.convolutions import guard_convolutions
from models.device import pick_dtype
from models.tiny import ace_step
from models.weight_norms import fold_weight_norms

CPU = torch.device("cpu")


@pytest.mark.parametrize(("wide", "deep"), [(256, 256), (1024, 256), (1024, 1024), (256, 1024)])
def test_a_row_of_a_product_is_the_same_to_the_bit_among_any_number(wide: int, deep: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, rows = (torch.randn(count, deep, generator=generator) for count in (wide, 64))
    few = linear(rows[:4], weight)
    assert [n for n in range(8, 65, 4) if not torch.equal(linear(rows[:n], weight)[:4], few)] == []


@pytest.mark.parametrize(("rows", "wide", "deep"), [(1, 256, 256), (4, 1024, 256), (125, 2048, 2048), (7, 256, 48)])
def test_products_and_their_gradients_in_half_precision_are_near(rows: int, wide: int, deep: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight, grad = (torch.randn(shape, generator=generator) for shape in ((rows, deep), (wide, deep), (rows, wide)))

    def product(dtype: torch.dtype) -> list[torch.Tensor]:
        leaves = [each.to(dtype).requires_grad_() for each in (x, weight)]
        y = linear(*leaves)
        y.backward(grad.to(dtype))
        return [y.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    for half, exact in zip(product(torch.bfloat16), product(torch.float32), strict=True):
        assert (half.float() - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("channels", "width", "stride"),
    [(16, 8, 4), (16, 16, 8), (16, 20, 10), (8, 16, 8), (32, 10, 5), (64, 4, 2), (16, 7, 1)],
)
def test_guarded_convolutions_in_half_precision_are_near(
    channels_last: bool, transposed: bool, channels: int, width: int, stride: int
) -> None:
    kind = torch.nn.ConvTranspose1d if transposed else torch.nn.Conv1d
    exact, half = (
        torch.nn.Sequential(weight_norm(kind(channels, 2 * channels, width, stride, padding=stride // 2)))
        for _ in range(2)
    )
    half.load_state_dict(exact.state_dict())
    if channels_last:
        fold_weight_norms(half)
        use_channels_last(half)
    guard_convolutions(half.bfloat16())
    for frames in (97, 500, 1000):
        sound = torch.randn(2, channels, frames)
        expected = exact(sound)
        assert (half(sound.bfloat16()).float() - expected).norm() < 0.02 * expected.norm()


def test_convolutions_keep_channels_next_to_each_other() -> None:
    """With the results of those that they replace."""
    layers = torch.nn.Sequential(
        torch.nn.Conv1d(4, 24, 7, padding=3),
        torch.nn.ConvTranspose1d(24, 12, 8, 4, padding=2),
        torch.nn.Conv1d(12, 12, 7, dilation=3, padding=9, groups=3),
        torch.nn.ConvTranspose1d(12, 6, 5, 3, output_padding=1),
    )
    ours = copy.deepcopy(layers)
    use_channels_last(ours)
    sound = torch.randn(2, 4, 31)
    expected, made = layers(sound), ours(sound)
    torch.testing.assert_close(made, expected)
    assert made.transpose(1, 2).is_contiguous() and not expected.transpose(1, 2).is_contiguous()


@pytest.mark.slow
def test_the_codec_in_half_precision_is_near() -> None:
    checkpoint = resolve("starter", "ace_step_test", ace_step.build)
    exact, half = (AceStep.load(checkpoint, CPU, dtype) for dtype in (torch.float32, torch.bfloat16))
    wave = torch.randn(1, 2, 48_000, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.inference_mode():
        latents = exact.pipeline.vae.encode(wave).latent_dist.mean
        ours = half.pipeline.vae.encode(wave.bfloat16()).latent_dist.mean.float()
        assert (ours - latents).norm() < 0.05 * latents.norm()
        audio = run_to_end(decode(exact.pipeline.vae, latents.transpose(1, 2)))
        near = run_to_end(decode(half.pipeline.vae, latents.transpose(1, 2).bfloat16())).float()
        assert (near - audio).norm() < 0.05 * audio.norm()


def test_auto_is_exact_on_a_cpu_and_half_precision_on_a_gpu() -> None:
    assert pick_dtype("auto", CPU) is torch.float32
    assert pick_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert pick_dtype("bfloat16", CPU) is torch.bfloat16
