"""The codecs' losses, of a reconstruction and its reference `[B, T]`."""

from __future__ import annotations

from functools import lru_cache

import torch

from .data import SAMPLE_RATE

WAVE_BANDS = ((0, 150, 1.0), (150, 500, 1.0), (500, 1500, 1.5), (1500, 3000, 1.5), (3000, 6000, 0.4))
"""From Hz, to Hz, weight: where the waveform itself is compared. Bass has most of the energy, so each band's error is
relative to the band's own energy. Above, sound is noise-like, and only its level is compared."""
NOISE_BANDS = ((1000, 2000), (2000, 4000), (4000, 7000), (7000, 12_000))
"""Hz; where the level is compared. From 1 kHz on, as waveforms above it are half lost, and the best guess for the lost
part is silence: without the first band, 1.3 to 2.8 kHz was 5 dB too soft."""


@lru_cache(maxsize=16)
def _window(size: int, device: str) -> torch.Tensor:
    return torch.hann_window(size, device=device)


def _spectrum(audio: torch.Tensor, size: int) -> torch.Tensor:
    """Real and imaginary part `[B, bins, frames, 2]`."""
    window = _window(size, str(audio.device))
    spectrum = torch.stft(audio, size, size // 4, window=window, return_complex=True, normalized=True)
    return torch.view_as_real(spectrum)


def wave_error(estimate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Error of the waveform relative to its energy, weighted over `WAVE_BANDS`."""
    size = 1024
    error = _spectrum(estimate - reference, size).square().sum(-1)
    energy = _spectrum(reference, size).square().sum(-1)
    total = error.new_zeros(())
    for low, high, weight in WAVE_BANDS:
        bins = slice(low * size // SAMPLE_RATE, high * size // SAMPLE_RATE + 1)
        level = energy[:, bins].sum((1, 2))
        ratio = error[:, bins].sum((1, 2)) / (level + 1e-3 * energy.sum((1, 2)) + 1e-4)
        total = total + weight * (ratio + 1e-4).sqrt().mean()
    return total / sum(weight for *_, weight in WAVE_BANDS)


def spectral_error(estimate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Magnitudes at three resolutions: convergence, and distance in log."""
    total = estimate.new_zeros(())
    for size in (128, 512, 2048):
        a, b = ((_spectrum(x, size).square().sum(-1) + 1e-9).sqrt() for x in (estimate, reference))
        total = total + ((a - b).norm(dim=(1, 2)) / (b.norm(dim=(1, 2)) + 1e-2)).mean()
        total = total + ((a + 1e-4).log() - (b + 1e-4).log()).abs().mean()
    return total / 3


def noise_level_error(estimate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Log distance of the energies in wide bands, over 20 ms and over the whole cut.

    With a loss on magnitudes alone, a decoder answers noise with silence, the best guess for each bin; the energy of a
    band is predictable. With 20 ms alone, drum hits, which have most of the energy, were 2.6 dB too soft.
    """
    size = 256
    a, b = (_spectrum(x, size).square().sum(-1) for x in (estimate, reference))
    total = estimate.new_zeros(())
    for low, high in NOISE_BANDS:
        bins = slice(low * size // SAMPLE_RATE, high * size // SAMPLE_RATE + 1)
        levels = [x[:, bins].sum(1) for x in (a, b)]
        for pooled in ([torch.nn.functional.avg_pool1d(x, 8, 4) for x in levels], [x.mean(1) for x in levels]):
            total = total + ((pooled[0] + 1e-5).log() - (pooled[1] + 1e-5).log()).abs().mean()
    return total / len(NOISE_BANDS)


def codec_loss(estimate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The weighted sum of all three."""
    return (
        3.0 * wave_error(estimate, reference)
        + 0.5 * spectral_error(estimate, reference)
        + 0.25 * noise_level_error(estimate, reference)
    )
