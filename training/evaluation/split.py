"""Which songs are set aside, to measure on music that training never sees."""

from __future__ import annotations

from collections.abc import Sequence

# With fewer songs nothing is set aside: training needs them more.
FEWEST = 3
_SHARE = 8


def set_aside(songs: Sequence[tuple[int, str, float]]) -> set[int]:
    """The songs to hold out: one in eight, at least one of three, never more than about a third of the music.

    Args:
        songs: (index, digest of its contents, seconds). Which ones go is drawn by the digests, so that it does not
            depend on their order; of long and short ones the shorter go first where the longer would cost too much.
    """
    if len(songs) < FEWEST:
        return set()
    total = sum(seconds for _, _, seconds in songs)
    wanted = max(1, round(len(songs) / _SHARE))
    chosen: set[int] = set()
    spent = 0.0
    for index, _, seconds in sorted(songs, key=lambda song: song[1]):
        if len(chosen) < wanted and spent + seconds <= total * 0.34:
            chosen.add(index)
            spent += seconds
    return chosen or {min(songs, key=lambda song: song[2])[0]}
