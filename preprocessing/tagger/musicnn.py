"""musicnn, a small convolutional network that tags music (Pons and Serra, "musicnn", arXiv 1909.06654).

The weights are the variables of the `musicnn` wheel 0.1.0, unchanged, one array each; their licence is beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torchaudio.functional as audio_functional
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Array = NDArray[np.float32]

RATE = 16_000  # Hz
WINDOW = 187  # frames of the networks' input: three seconds
WINDOW_SAMPLES = (WINDOW - 1) * 256

_FFT, _HOP, _BANDS = 512, 256, 96
_BATCH = 8  # windows; more take memory and save no time

# fmt: off
TAGS: dict[str, tuple[str, ...]] = {
    # MagnaTagATune: instruments, voices, tempo.
    "mtt": (
        "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient",
        "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals",
        "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo",
        "man", "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello",
        "no voice", "weird", "country", "metal", "female voice", "choral",
    ),
    # Million Song Dataset: genres, moods, decades.
    "msd": (
        "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock",
        "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "Mellow",
        "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient",
        "acoustic", "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening",
        "sexy", "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad",
        "House", "happy",
    ),
}
# fmt: on


@dataclass(frozen=True)
class Heard:
    """What a network finds in audio.

    Attributes:
        embedding: (windows, 200), the last hidden layer.
        probabilities: (windows, 50), one for each of the network's `TAGS`.
    """

    embedding: Array
    probabilities: Array


class Musicnn(nn.Module):
    """One network.

    Args:
        weights: an `.npz` file of the network's variables.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        with np.load(weights) as arrays:
            values = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        self._front = nn.ModuleList(_Convolution(values, layer) for layer in range(5))
        self._middle = nn.ModuleList(_Convolution(values, layer) for layer in (5, 6, 7))
        self._input, self._pooled, self._hidden = (_Normalisation(values, layer) for layer in (0, 9, 10))
        self._dense, self._output = (_linear(values, name) for name in ("dense", "dense_1"))
        self.requires_grad_(False)

    @torch.inference_mode()
    def hear(self, audio: Array, hop_seconds: float = 3.0) -> Heard:
        """Run over mono audio (samples,) at RATE, in windows of three seconds; shorter audio is repeated.

        Args:
            hop_seconds: between the beginnings of two windows.
        """
        if len(audio) < WINDOW_SAMPLES:
            audio = np.resize(audio, WINDOW_SAMPLES)
        mel = log_mel(audio)
        hop = max(1, round(hop_seconds * RATE / _HOP))
        starts = range(0, len(mel) - WINDOW + 1, hop)
        windows = torch.stack([mel[start : start + WINDOW] for start in starts])
        parts = [self(batch) for batch in windows.split(_BATCH)]
        return Heard(*(torch.cat(each).numpy() for each in zip(*parts, strict=True)))

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, WINDOW, 96]` to embeddings `[B, 200]` and probabilities `[B, 50]`."""
        image = self._input(mel[:, None])
        features = [torch.cat([layer(image) for layer in self._front], 1)]
        for layer in self._middle:
            found = layer(features[-1].transpose(1, 2)[:, None])
            features.append(found + features[-1] if len(features) > 1 else found)
        stacked = torch.cat(features, 1)
        # The weights expect maximum and mean of each feature side by side.
        pooled = self._pooled(torch.stack([stacked.amax(2), stacked.mean(2)], 2).flatten(1))
        embedding = self._hidden(F.relu(self._dense(pooled)))
        return embedding, torch.sigmoid(self._output(embedding))


@lru_cache(maxsize=2)
def load(name: Literal["mtt", "msd"]) -> Musicnn:
    """The network that was trained on MagnaTagATune or on the Million Song Dataset."""
    return Musicnn(Path(__file__).with_name(f"{name}.npz")).eval()


def log_mel(audio: Array) -> Tensor:
    """The networks' input for mono audio (samples,) at RATE: `[frames, 96]`."""
    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(audio, np.float32)),
        _FFT,
        _HOP,
        window=torch.hann_window(_FFT),
        pad_mode="constant",
        return_complex=True,
    )
    return torch.log10(10_000 * (spectrum.abs().square().T @ _filters()) + 1)


@lru_cache(maxsize=1)
def _filters() -> Tensor:
    return audio_functional.melscale_fbanks(
        _FFT // 2 + 1, 0.0, RATE / 2, _BANDS, RATE, norm="slaney", mel_scale="slaney"
    )


class _Convolution(nn.Module):
    """Convolution, ReLU, batch normalisation, and the maximum over frequency.

    The maximum is taken first, which is the same, as the other steps rise with their input, or fall for channels with
    a negative scale, whose sign is changed before.
    """

    def __init__(self, values: dict[str, Tensor], layer: int) -> None:
        super().__init__()
        name = _numbered("conv2d", layer)
        kernel = values[f"{name}__kernel"].permute(3, 2, 0, 1)
        length = kernel.shape[2]
        self._padding = (0, 0, (length - 1) // 2, length // 2)  # keeps the number of frames
        self._normalise = _Normalisation(values, layer + 1)
        self._sign = torch.where(self._normalise.scale < 0, -1.0, 1.0)
        self._kernel = kernel.contiguous() * self._sign[:, None, None, None]
        self._bias = values[f"{name}__bias"] * self._sign

    def forward(self, image: Tensor) -> Tensor:
        """`[B, 1, T, F]` to `[B, C, T]`."""
        highest = F.conv2d(F.pad(image, self._padding), self._kernel, self._bias).amax(3)
        return self._normalise(F.relu(highest * self._sign[:, None]))


class _Normalisation(nn.Module):
    """Batch normalisation of dimension 1, by the statistics of training."""

    def __init__(self, values: dict[str, Tensor], layer: int) -> None:
        super().__init__()
        gamma, beta, mean, variance = (
            values[f"{_numbered('batch_normalization', layer)}__{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        self.scale: Tensor = gamma / (variance + 1e-3).sqrt()
        self._shift: Tensor = beta - mean * self.scale

    def forward(self, x: Tensor) -> Tensor:
        shape = [1, -1] + [1] * (x.dim() - 2)
        return torch.addcmul(self._shift.view(shape), x, self.scale.view(shape))


def _linear(values: dict[str, Tensor], name: str) -> nn.Linear:
    kernel = values[f"{name}__kernel"]
    layer = nn.Linear(*kernel.shape)
    layer.weight = nn.Parameter(kernel.T.contiguous(), requires_grad=False)
    layer.bias = nn.Parameter(values[f"{name}__bias"], requires_grad=False)
    return layer


def _numbered(name: str, layer: int) -> str:
    return f"{name}_{layer}" if layer else name
