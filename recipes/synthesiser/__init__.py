"""A synthesiser of loops and minute-long pieces, which the shipped starters were trained on.

    song = sample_song(numpy.random.default_rng(1), "trap", bpm=140)
    audio = render(song, seconds=60)            # float32 [channels, samples], peak 0.8
    caption(song, rng), metadata(song)          # a prompt and ACE-Step's metadata fields for it

All sound is computed: no recordings, no sample library.
"""

from .captions import caption, metadata, text
from .genres import GENRES, UNSEEN_STYLES
from .render import render
from .song import Song, sample_song

__all__ = ["GENRES", "UNSEEN_STYLES", "Song", "caption", "metadata", "render", "sample_song", "text"]
