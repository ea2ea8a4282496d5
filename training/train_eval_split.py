"""The music of a job as examples: songs to train on, held-out songs of the same producer, and reference music."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.base import Model, Text
from preprocessing.dataset import Clip, Dataset
from preprocessing.memorised import TrainingSegments
from preprocessing.segment import MIN_SECONDS, resampled
from preprocessing.stages import OnProgress, StageMeter, ignore
from training import kept
from training.adapter import usual_tempo
from training.evaluation import reference
from training.evaluation.data_section import data_section
from training.evaluation.extent import FULL
from training.evaluation.held_out import choose_held_out
from training.evaluation.listening import Piece, listen, middle
from training.evaluation.noise import is_noise
from training.examples import ExampleCache, Examples

# A longer clip becomes several examples. Only songs that were not cut into segments are longer.
_MAX_EXAMPLE_SECONDS = 60.0
# An excerpt is measured of at most this many of the dataset's clips.
_MAX_EXCERPTS = 32

# Called with the name of a measurement; the context manager decides what an error in it does.
TryMeasuring = Callable[[str], AbstractContextManager[object]]


@dataclass(frozen=True)
class Subset:
    """The examples of one part of the split.

    Attributes:
        examples: the cached examples.
        songs: for each example, the index of its song.
        texts: for each example, the text that it is conditioned on.
        excerpts: of some of the examples.
        through_codec: of some of the excerpts, after the codec's encoder and decoder.
    """

    examples: Examples
    songs: list[int]
    texts: list[Text]
    excerpts: list[Piece]
    through_codec: list[Piece]

    def sample(self, count: int) -> tuple[Examples, list[int]]:
        """Up to `count` evenly spaced examples, and their songs."""
        chosen = _evenly_spaced(len(self.examples), count)
        return Examples([self.examples.paths[index] for index in chosen]), [self.songs[index] for index in chosen]


@dataclass(frozen=True)
class TrainEvalSplit:
    """The examples that a job trains on, and those that it is evaluated on.

    Attributes:
        train: the producer's songs to train on.
        held_out: the producer's songs that are never trained on; may be empty.
        reference: music of no producer.
        seconds: length of the music in `train`.
        noise: whether most of the producer's music is noise.
        data: the report's section on the music.
        segments: those of `train`, to find pieces that repeat them.
        codec_similarity: of excerpts after the codec to those segments, the median: the most that the model's pieces
            can be expected to reach; None if it was not measured.
    """

    train: Subset
    held_out: Subset
    reference: Subset
    seconds: float
    noise: bool
    data: dict[str, Any]
    segments: TrainingSegments = field(default_factory=TrainingSegments)
    codec_similarity: float | None = None

    @property
    def bpm(self) -> int | None:
        """The producer's tempo, at which the twin plays by default."""
        return usual_tempo([*self.train.texts, *self.held_out.texts])

    def at_default_tempo(self, texts: Sequence[Text]) -> list[Text]:
        """The texts as the twin is given them in generation: those without a tempo get the producer's."""
        return [replace(text, bpm=text.bpm or self.bpm) for text in texts]


def split_dataset(
    dataset: Dataset,
    model: Model,
    cache: ExampleCache,
    excerpt_seconds: float,
    check_stop: Callable[[], None],
    on_progress: OnProgress = ignore,
    try_measuring: TryMeasuring = nullcontext,
    max_through_codec: int = FULL.through_codec,
) -> TrainEvalSplit:
    """Choose the held-out songs, compute all examples that are not in the cache, and measure excerpts.

    Args:
        excerpt_seconds: as long as the pieces that the excerpts are compared with.
        check_stop: called before each example; it may raise to stop.
        on_progress: called after each clip.
        try_measuring: as `Report.try_measuring`; without it an error in a measurement is raised.
        max_through_codec: how many of the excerpts are measured after the codec too.
    """
    files, clips = dataset.record["files"], dataset.clips
    lengths: dict[int, float] = {}
    for clip in clips:
        lengths[clip.song] = lengths.get(clip.song, 0.0) + clip.seconds
    held_out_songs = choose_held_out([(song, files[song]["sha256"], seconds) for song, seconds in lengths.items()])
    train, held_out, segments = _SubsetBuilder(), _SubsetBuilder(), TrainingSegments()
    with_excerpt = _evenly_spaced(len(clips), _MAX_EXCERPTS)
    through_codec = {with_excerpt[index] for index in _evenly_spaced(len(with_excerpt), max_through_codec)}
    samples = round(excerpt_seconds * model.sample_rate)
    noise, copies = [], []
    meter = StageMeter("encoding", "segments", [clip.seconds for clip in clips], on_progress)
    for index, clip in meter.over(enumerate(clips)):
        text, name = text_of(clip), f"clip {index}"
        subset = held_out if clip.song in held_out_songs else train
        for number, audio in enumerate(_pieces(clip, model)):
            check_stop()
            subset.add(cache, audio, text, clip.song)
            if subset is train:
                with try_measuring(f"the fingerprint of {name}"):
                    segments.add(index, audio.mean(axis=0), model.sample_rate, clip.song)
            if index in with_excerpt and not number:
                excerpt = middle(audio, samples)
                with try_measuring(f"whether {name} is noise"):
                    noise.append(is_noise(audio, model.sample_rate))
                with try_measuring(f"an excerpt of {name}"):
                    subset.add_excerpt(model, excerpt, name, str(clip.song), cache.folder)
                    if index in through_codec:
                        copy = subset.add_codec_copy(model, excerpt, name, str(clip.song), cache.folder)
                        if copy is not None and subset is train:
                            copies.append(copy)
    other = _SubsetBuilder()
    for number, (audio, text) in enumerate(reference.pieces(model.sample_rate, model.channels)):
        check_stop()
        other.add(cache, audio, text, number)
        name = f"reference {number}"
        with try_measuring(f"an excerpt of {name}"):
            other.add_excerpt(model, middle(audio, samples), name, name, cache.folder)
    codec_similarity = None
    with try_measuring("how similar the segments are after the codec"):
        codec_similarity = _similarity(copies, model.sample_rate, segments)
    return TrainEvalSplit(
        train=train.build(),
        held_out=held_out.build(),
        reference=other.build(),
        seconds=sum(clip.seconds for clip in clips if clip.song not in held_out_songs),
        noise=sum(noise) > len(noise) / 2,
        data=data_section(dataset, held_out_songs, noise),
        segments=segments,
        codec_similarity=codec_similarity,
    )


class _SubsetBuilder:
    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.songs: list[int] = []
        self.texts: list[Text] = []
        self.excerpts: list[Piece] = []
        self.through_codec: list[Piece] = []

    def add(self, cache: ExampleCache, audio: NDArray[np.float32], text: Text, song: int) -> None:
        self.paths.append(cache.add(audio, text))
        self.songs.append(song)
        self.texts.append(text)

    def add_excerpt(self, model: Model, audio: NDArray[np.float32], source: str, song: str, folder: Path) -> None:
        self.excerpts.append(listen(audio.mean(axis=0), model.sample_rate, source, song, folder=folder))

    def add_codec_copy(
        self, model: Model, audio: NDArray[np.float32], source: str, song: str, folder: Path
    ) -> NDArray[np.float32] | None:
        """Measure the audio after the codec, and return it as mono; None if the model cannot reconstruct audio."""
        file = kept.file_of(folder, ("through the codec", kept.digest_of(audio), model.sample_rate))
        mono = kept.read(file)
        if mono is None:
            copy = model.reconstruct(audio)
            if copy is None:
                return None
            mono = copy.mean(axis=0)
            kept.write(file, mono)
        self.through_codec.append(listen(mono, model.sample_rate, source, song, folder=folder))
        return mono

    def build(self) -> Subset:
        return Subset(Examples(self.paths), self.songs, self.texts, self.excerpts, self.through_codec)


def _similarity(copies: Sequence[NDArray[np.float32]], rate: int, segments: TrainingSegments) -> float | None:
    """The median similarity of mono audio to the segments; None if none of it can be compared."""
    found = [nearest.similarity for copy in copies if (nearest := segments.nearest_to(copy, rate))]
    return float(np.median(found)) if found else None


def _evenly_spaced(length: int, count: int) -> list[int]:
    """Up to `count` evenly spaced indices below `length`."""
    return [round(index) for index in np.linspace(0, length - 1, min(length, count))] if length else []


def text_of(clip: Clip) -> Text:
    """The clip's caption as the conditioner's input; its lyrics are unknown if there is a voice."""
    caption = clip.caption
    lyrics = None if caption.vocal else ""
    return Text(
        caption.text,
        lyrics,
        bpm=caption.bpm,
        key=caption.key,
        time_signature=caption.time_signature,
        vocal_language=caption.vocal_language,
    )


def _pieces(clip: Clip, model: Model) -> Iterator[NDArray[np.float32]]:
    """The clip's audio `[channels, samples]` at the model's rate, in pieces of at most `_MAX_EXAMPLE_SECONDS`.

    It has the gain of training, by which samples may exceed ±1.
    """
    gain = np.float32(10 ** (clip.gain / 20))
    longest, shortest = round(_MAX_EXAMPLE_SECONDS * model.sample_rate), round(MIN_SECONDS * model.sample_rate)
    blocks: list[NDArray[np.float32]] = []
    length, first = 0, True
    for block in resampled(clip.path, model.sample_rate, model.channels):
        block = block * gain
        while length + len(block) > longest:
            blocks.append(block[: longest - length])
            block = block[longest - length :]
            yield np.ascontiguousarray(np.concatenate(blocks).T)
            blocks, length, first = [], 0, False
        blocks.append(block)
        length += len(block)
    # A remainder that is too short is left out, but not the only piece of a short clip.
    if length and (first or length >= shortest):
        yield np.ascontiguousarray(np.concatenate(blocks).T)
