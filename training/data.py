"""What a job trains and is measured on: everything of a clip that is frozen, computed once, and the songs set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.base import Model, Text
from preprocessing.dataset import Clip, Dataset
from preprocessing.segment import MIN_SECONDS, resampled
from training.evaluation import reference, resemblance
from training.evaluation.held_out import spread
from training.evaluation.report import data_sense
from training.evaluation.resemblance import Description
from training.evaluation.split import set_aside
from training.examples import ExampleCache, Examples

# A longer clip, which only an uncut song is, becomes several examples.
_LONGEST_SECONDS = 60.0
# So many pieces of each kind are described.
_DESCRIBED = 24


@dataclass(frozen=True)
class Part:
    """Examples of one kind of music.

    Attributes:
        songs: which song each example is of.
        texts: what each example is said to be.
        described: where some of them lie in the space of timbre.
    """

    examples: Examples
    songs: list[int]
    texts: list[Text]
    described: list[Description]

    def some(self, most: int) -> tuple[Examples, list[int]]:
        """Up to so many examples, evenly apart, and their songs."""
        chosen = spread(len(self.examples), most)
        return Examples([self.examples.paths[index] for index in chosen]), [self.songs[index] for index in chosen]


@dataclass(frozen=True)
class TrainEvalSplit:
    """Attributes:
    trained: what is trained on.
    held_out: songs of the producer that are not; may be empty.
    other: nobody's music.
    seconds: of what is trained on.
    noise: whether most of the producer's music is noise.
    data: the report's section on the music.
    """

    trained: Part
    held_out: Part
    other: Part
    seconds: float
    noise: bool
    data: dict[str, Any]


def gather(dataset: Dataset, model: Model, cache: ExampleCache, check: Callable[[], None]) -> TrainEvalSplit:
    """Compute, or find in the cache, what the dataset comes to. `check` is called on the way and may raise."""
    files = dataset.record["files"]
    lengths: dict[int, float] = {}
    for clip in dataset.clips:
        lengths[clip.song] = lengths.get(clip.song, 0.0) + clip.seconds
    aside = set_aside([(song, files[song]["sha256"], seconds) for song, seconds in lengths.items()])
    clips = dataset.clips
    described = set(spread(len(clips), 2 * _DESCRIBED))
    parts = {False: _Part(), True: _Part()}
    noise = []
    for index, clip in enumerate(clips):
        text = _text(clip)
        for number, audio in enumerate(_pieces(clip, model)):
            check()
            part = parts[clip.song in aside]
            part.add(cache, audio, text, clip.song)
            if index in described and not number:
                part.described.append(resemblance.describe(audio, model.sample_rate))
                noise.append(resemblance.is_noise(audio, model.sample_rate))
    other = _Part()
    for number, (audio, text) in enumerate(reference.pieces(model.sample_rate, model.channels)):
        check()
        other.add(cache, audio, text, number)
        other.described.append(resemblance.describe(audio, model.sample_rate))
    return TrainEvalSplit(
        trained=parts[False].done(),
        held_out=parts[True].done(),
        other=other.done(),
        seconds=sum(clip.seconds for clip in clips if clip.song not in aside),
        noise=sum(noise) > len(noise) / 2,
        data=data_sense(dataset, aside, noise),
    )


class _Part:
    def __init__(self) -> None:
        self.paths: list[Any] = []
        self.songs: list[int] = []
        self.texts: list[Text] = []
        self.described: list[Description] = []

    def add(self, cache: ExampleCache, audio: NDArray[np.float32], text: Text, song: int) -> None:
        self.paths.append(cache.add(audio, text))
        self.songs.append(song)
        self.texts.append(text)

    def done(self) -> Part:
        return Part(Examples(self.paths), self.songs, self.texts, self.described)


def _text(clip: Clip) -> Text:
    caption = clip.caption
    return Text(caption.text, bpm=caption.bpm, key=caption.key, time_signature=caption.time_signature)


def _pieces(clip: Clip, model: Model) -> Iterator[NDArray[np.float32]]:
    """The clip's audio `[channels, samples]` as the model wants it; one piece unless it is long."""
    longest, shortest = round(_LONGEST_SECONDS * model.sample_rate), round(MIN_SECONDS * model.sample_rate)
    gathered: list[NDArray[np.float32]] = []
    length, first = 0, True
    for block in resampled(clip.path, model.sample_rate, model.channels):
        while length + len(block) > longest:
            gathered.append(block[: longest - length])
            block = block[longest - length :]
            yield np.ascontiguousarray(np.concatenate(gathered).T)
            gathered, length, first = [], 0, False
        gathered.append(block)
        length += len(block)
    # A remainder too short to be heard is left out, but not the whole of a short clip.
    if length and (first or length >= shortest):
        yield np.ascontiguousarray(np.concatenate(gathered).T)
