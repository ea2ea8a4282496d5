"""The choice of the held-out songs, which are measured but never trained on."""

from __future__ import annotations

from collections.abc import Sequence

# With fewer songs none is held out, since training needs them all.
MIN_SONGS = 3
_SONGS_PER_HELD_OUT = 8
_MAX_HELD_OUT_SHARE = 0.34  # of the music's length


def choose_held_out(songs: Sequence[tuple[int, str, float]]) -> set[int]:
    """The indices of the songs to hold out: one in eight, and at least one if there are three or more.

    They are chosen in the order of their digests, so that the choice does not depend on the order of the songs. A song
    that would bring the held-out part above about a third of the music is passed over; if all would, the shortest song
    is held out.

    Args:
        songs: (index, digest of the contents, seconds).
    """
    if len(songs) < MIN_SONGS:
        return set()
    total = sum(seconds for _, _, seconds in songs)
    count = max(1, round(len(songs) / _SONGS_PER_HELD_OUT))
    chosen: set[int] = set()
    held_out_seconds = 0.0
    for index, _, seconds in sorted(songs, key=lambda song: song[1]):
        if len(chosen) < count and held_out_seconds + seconds <= total * _MAX_HELD_OUT_SHARE:
            chosen.add(index)
            held_out_seconds += seconds
    return chosen or {min(songs, key=lambda song: song[2])[0]}
