"""MusicGen-melody: text and chromagram are states in front of the tokens, as there is no cross-attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import MusicgenMelodyFeatureExtractor, MusicgenMelodyForConditionalGeneration


class Melody:
    """Conditions a melody checkpoint.

    Args:
        model: the checkpoint.
        extractor: its chromagram.
    """

    def __init__(
        self, model: MusicgenMelodyForConditionalGeneration, extractor: MusicgenMelodyFeatureExtractor
    ) -> None:
        self.model = model
        self.extractor = extractor

    @torch.no_grad()
    def prefixes(self, text: Tensor, recording: NDArray[np.float32] | None, starts: Sequence[int]) -> list[Tensor]:
        """The states `[2, n, hidden]` in front of each window's tokens, conditional and unconditional.

        Args:
            text: the encoded text, `[L, hidden]`.
            recording: the melody, `[channels, samples]`, which is repeated where it is too short; None for text alone.
            starts: the sample of the track with which each window begins.
        """
        null = self._projected(self._null_chroma())
        unconditional = torch.cat([null, torch.zeros_like(text)])
        conditional = [
            null if recording is None else self._projected(self._chroma(np.roll(recording, -start, axis=1)))
            for start in starts
        ]
        return [torch.stack([torch.cat([chroma, text]), unconditional]) for chroma in conditional]

    def _chroma(self, recording: NDArray[np.float32]) -> Tensor:
        """The loudest of twelve pitch classes of each frame, one-hot `[frames, 12]`."""
        mono = np.ascontiguousarray(recording.mean(axis=0))
        features = self.extractor(mono, sampling_rate=self.extractor.sampling_rate, return_tensors="pt")
        chroma: Tensor = features.input_features[0]
        return chroma

    def _null_chroma(self) -> Tensor:
        chroma = torch.zeros(1, self.model.config.num_chroma)
        chroma[:, 0] = 1
        return chroma

    def _projected(self, chroma: Tensor) -> Tensor:
        """Chroma `[frames, 12]` as states `[chroma_length, hidden]`: repeated or cut to the length of training."""
        length: int = self.model.config.chroma_length
        states = chroma.to(self.model.decoder.device)
        if hasattr(self.model, "audio_enc_to_dec_proj"):
            states = self.model.audio_enc_to_dec_proj(states)
        return states.repeat(-(-length // len(states)), 1)[:length].to(self.model.decoder.dtype)
