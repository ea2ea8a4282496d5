"""Audio from band levels without a trained decoder (Griffin and Lim, 1984)."""

from __future__ import annotations

import torch
from torch import Tensor

from .bands import FLOOR, BandLevels, Region

MOMENTUM = 0.99
SHARPENING = 30
"""Iterations that sharpen the spectrum within the bands."""


def invert(levels: BandLevels, values: Tensor, iterations: int = 32) -> Tensor:
    """Audio `[T * hop]` of band levels `[bands, T]`: each region by itself, in its own part of the spectrum."""
    audio = values.new_zeros(values.shape[1] * levels.hop)
    first = 0
    for number, region in enumerate(levels.regions):
        part = values[first : first + region.bands]
        magnitude = _magnitude(levels, region, part)
        hz = torch.linspace(0, levels.rate / 2, magnitude.shape[0])
        # Regions meet half-way in the band that follows.
        if number:
            magnitude[hz < region.edges[1]] = 0
        if number < len(levels.regions) - 1:
            magnitude[hz >= levels.regions[number + 1].edges[1]] = 0
        audio += _griffin_lim(magnitude, region.window, levels.hop, len(audio), iterations)
        first += region.bands
    return audio


def _magnitude(levels: BandLevels, region: Region, part: Tensor) -> Tensor:
    """Magnitudes `[bins, T]` of the region's transform that have these band levels.

    From levels interpolated between the bands' centres, by the iterations of Richardson (1972) and Lucy (1974): they
    lead to spectra of few lines, as tones have, where least squares would fill the bands with noise.
    """
    bins = region.window // 2 + 1
    hz = torch.linspace(0, levels.rate / 2, bins)
    centres = torch.tensor(region.edges[1:-1], dtype=part.dtype)
    right = torch.searchsorted(centres, hz).clamp(1, len(centres) - 1)
    left = right - 1
    share = ((hz - centres[left]) / (centres[right] - centres[left])).clamp(0, 1)[:, None]
    energy = ((1 - share) * part[left] + share * part[right]).exp()
    weights = region.triangles(levels.rate).to(part)
    wanted, reach = part.exp(), weights.sum(0).clamp_min(1e-6)[:, None]
    inside = (weights.sum(0) > 1e-6)[:, None]
    for _ in range(SHARPENING):
        energy = torch.where(inside, energy * (weights.T @ (wanted / (weights @ energy))) / reach, energy)
    window = torch.hann_window(region.window)
    return ((energy - FLOOR).clamp_min(0) * window.square().sum()).sqrt()


def _griffin_lim(magnitude: Tensor, size: int, hop: int, length: int, iterations: int) -> Tensor:
    window = torch.hann_window(size)
    before = (size - hop) // 2
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.polar(magnitude, 2 * torch.pi * torch.rand(magnitude.shape, generator=generator))
    norm = _overlap_add(window.square()[:, None].expand(-1, magnitude.shape[1]), hop).clamp_min(1e-3)
    previous = torch.zeros_like(spectrum)
    audio = spectrum.real[0]
    for step in range(iterations + 1):
        frames = torch.fft.irfft(spectrum, size, dim=0) * window[:, None]
        audio = _overlap_add(frames, hop) / norm
        if step == iterations:
            break
        again = torch.stft(audio, size, hop, window=window, center=False, return_complex=True)
        guess = again - MOMENTUM / (1 + MOMENTUM) * previous
        previous = again
        spectrum = magnitude * guess / guess.abs().clamp_min(1e-9)
    return audio[before : before + length]


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """`[size, T]` to `[size + hop * (T - 1)]`."""
    size, count = frames.shape
    total = size + hop * (count - 1)
    folded = torch.nn.functional.fold(frames[None], (1, total), (1, size), stride=(1, hop))
    return folded.flatten()
