"""Loops and minute-long pieces from a dozen numbers: the music that the starter learned from.

    song = sample_song(numpy.random.default_rng(1), "trap", bpm=140)
    audio = render(song, seconds=60)            # float32 [channels, samples], peak 0.8
    caption(song, rng), metadata(song)          # the words and fields that ask for it

Everything is made from formulas in this package: no recording, no sample library.
"""

from .captions import caption, metadata, text
from .genres import GENRES, UNSEEN_STYLES
from .render import render
from .song import Song, sample_song

__all__ = ["GENRES", "UNSEEN_STYLES", "Song", "caption", "metadata", "render", "sample_song", "text"]
