"""The synthesiser's songs, played on sampled instruments."""

from __future__ import annotations

from recipes.synthesiser.arrange import Hit, arrange
from recipes.synthesiser.song import Song

from .arrangement import DRUM_NOTES
from .performance import PlayedNote

SAMPLED = {
    "808": "synth bass",
    "sub": "finger bass",
    "saw bass": "synth bass",
    "square bass": "synth bass",
    "acid": "synth bass",
    "reese": "synth bass",
    "rhodes": "electric piano",
    "piano": "grand piano",
    "organ": "hammond organ",
    "strings": "strings",
    "pad": "warm pad",
    "choir": "choir",
    "bell": "vibraphone",
    "pluck": "clean guitar",
}
"""The sampled instrument for a voice of the synthesiser; any other is played by a synth lead."""
ROLES = {"bass": "bass", "chord": "inner", "melody": "melody"}


def played_song(song: Song, seconds: float) -> list[PlayedNote]:
    """The song's notes and drum hits, exactly in time."""
    notes = []
    for event in arrange(song, seconds):
        if isinstance(event, Hit):
            pitch, velocity = DRUM_NOTES.get(event.drum, 76), min(127, round(127 * event.gain))
            notes.append(PlayedNote("drums", "drums", event.start, event.start + 0.1, pitch, velocity))
        else:
            instrument = SAMPLED.get(event.instrument, "saw lead")
            end = event.start + max(0.05, event.seconds)
            velocity = min(127, round(127 * 1.6 * event.gain))
            notes.append(PlayedNote(ROLES[event.track], instrument, event.start, end, event.pitch, velocity))
    return notes
