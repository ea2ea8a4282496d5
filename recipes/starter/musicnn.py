"""musicnn, a small music tagger (Pons and Serra, "musicnn", arXiv 1909.06654), for its embedding.

The weights are the variables of the `musicnn` wheel (ISC licence), one array each, `/` written as `__`.
"""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

RATE = 16_000
WINDOW = 187
"""Frames of 16 ms in the network's input of three seconds."""
HOP = 94


class Musicnn:
    """The network up to its last hidden layer.

    Args:
        weights: `msd.npz` or `mtt.npz`.
    """

    def __init__(self, weights: Path) -> None:
        with np.load(weights) as arrays:
            self._values = {name: torch.from_numpy(arrays[name]) for name in arrays.files}

    @torch.inference_mode()
    def embed(self, audio: np.ndarray, rate: int) -> np.ndarray:
        """One row of 200 numbers for each window of three seconds of mono audio `[samples]`, half overlapping.

        Raises:
            ValueError: the audio is shorter than a window.
        """
        mel = _log_mel(librosa.resample(audio, orig_sr=rate, target_sr=RATE))
        if len(mel) < WINDOW:
            raise ValueError(f"{len(audio) / rate:.1f} s of audio; an embedding needs {WINDOW * 256 / RATE:.1f} s")
        starts = range(0, len(mel) - WINDOW + 1, HOP)
        windows = torch.from_numpy(np.stack([mel[start : start + WINDOW] for start in starts]))
        return self._hidden(windows).numpy()

    def _hidden(self, mel: Tensor) -> Tensor:
        """`[B, WINDOW, 96]` to `[B, 200]`."""
        image = self._norm(mel[:, None], 0)
        timbre = F.pad(image, (0, 0, 3, 3))
        front = [self._norm(self._convolve(timbre, layer), layer + 1).amax(3) for layer in (0, 1)]
        for layer in (2, 3, 4):
            length = self._values[f"conv2d_{layer}__kernel"].shape[0]
            before = (length - 1) // 2
            padded = F.pad(image, (0, 0, before, length - 1 - before))
            front.append(self._norm(self._convolve(padded, layer), layer + 1).amax(3))
        first = torch.cat(front, 1).transpose(1, 2)
        second = self._middle(first, 5)
        third = self._middle(second, 6) + second
        fourth = self._middle(third, 7) + third
        features = torch.cat([first, second, third, fourth], 2)
        # The network was trained with maximum and mean of each feature side by side.
        pooled = self._norm(torch.stack([features.amax(1), features.mean(1)], 2).flatten(1), 9)
        return self._norm(F.relu(pooled @ self._values["dense__kernel"] + self._values["dense__bias"]), 10)

    def _middle(self, features: Tensor, layer: int) -> Tensor:
        """A convolution over seven frames of `[B, T, C]`."""
        padded = F.pad(features[:, None], (0, 0, 3, 3))
        return self._norm(self._convolve(padded, layer), layer + 1)[..., 0].transpose(1, 2)

    def _convolve(self, image: Tensor, layer: int) -> Tensor:
        name = "conv2d" + (f"_{layer}" if layer else "")
        kernel = self._values[f"{name}__kernel"].permute(3, 2, 0, 1)
        return F.relu(F.conv2d(image, kernel, self._values[f"{name}__bias"]))

    def _norm(self, x: Tensor, layer: int) -> Tensor:
        name = "batch_normalization" + (f"_{layer}" if layer else "")
        shape = [1, -1] + [1] * (x.dim() - 2)
        scale, shift, mean, variance = (
            self._values[f"{name}__{part}"].view(shape) for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / (variance + 1e-3).sqrt() * scale + shift


def _log_mel(audio: np.ndarray) -> np.ndarray:
    """`[frames, 96]`, float32."""
    power = librosa.feature.melspectrogram(y=audio, sr=RATE, hop_length=256, n_fft=512, n_mels=96)
    return np.log10(10_000 * power.T + 1).astype(np.float32)
