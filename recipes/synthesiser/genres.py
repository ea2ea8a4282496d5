"""The table of genres: tempo, instruments, drum patterns and effects of each.

A pattern is one bar of sixteenths. In drum patterns `x` is a full hit, `o` a soft one. In bass and chord
patterns `x` starts a note, `o` starts it an octave higher, `-` holds it and `.` is silence.
"""

from __future__ import annotations

from dataclasses import dataclass

Groove = dict[str, str]
"""Drum (or `bass`, `chord`) to its pattern."""


@dataclass(frozen=True)
class Style:
    names: tuple[str, ...]
    """Common names, the plainest first."""
    bpm: tuple[int, int]
    minor: float
    """Share of songs in a minor key."""
    basses: tuple[str | None, ...]
    chords: tuple[str | None, ...]
    melodies: tuple[str | None, ...]
    moods: tuple[str, ...]
    grooves: tuple[Groove, ...]
    drum_share: float = 0.86
    swing: float = 0.0
    beats: int = 4
    melody_style: str = "motif"
    """`motif`: a short phrase repeated in each bar; `arp`: broken chords in sixteenths or eighths."""
    seventh: bool = False
    bars_per_chord: int = 1
    rolls: bool = False
    """Hi-hat rolls in thirty-seconds."""
    reverb: tuple[float, float] = (0.5, 0.12)
    """Reverberation time in seconds, and level."""
    pump: float = 0.0
    """Sidechain: how far the kick ducks the rest, 0 to 1."""
    tone: float | None = None
    """Cut-off of the low-pass over the whole mix, in Hz."""
    crackle: float = 0.0
    crush: bool = False
    """Bit crusher: few bits and a low sample rate, as in an old game console."""


HOLD = "x---------------"

_TRAINED = {
    "trap": Style(
        names=("trap", "trap beat", "808 trap beat", "atlanta trap"),
        bpm=(130, 156),
        minor=0.95,
        basses=("808",),
        chords=("pad", "choir", "strings", None),
        melodies=("bell", "pluck", "piano"),
        moods=("dark", "menacing", "moody"),
        grooves=(
            {
                "kick": "x.....x...x.....",
                "clap": "........x.......",
                "hat": "x.o.x.o.x.o.x.o.",
                "bass": "x-----x---x-----",
                "chord": HOLD,
            },
            {
                "kick": "x..x......x...x.",
                "clap": "........x.......",
                "hat": "x.o.x.o.x.o.x.o.",
                "bass": "x--x------x---x-",
                "chord": HOLD,
            },
            {
                "kick": "x......x...x....",
                "clap": "........x.......",
                "hat": "x.o.x.o.x.o.x.o.",
                "bass": "x------x---x----",
                "chord": HOLD,
            },
        ),
        rolls=True,
        reverb=(0.8, 0.2),
    ),
    "house": Style(
        names=("house", "deep house", "house groove"),
        bpm=(118, 128),
        minor=0.5,
        basses=("saw bass", "sub"),
        chords=("organ", "piano", "rhodes"),
        melodies=("pluck", None),
        moods=("uplifting", "groovy", "happy"),
        grooves=(
            {
                "kick": "x...x...x...x...",
                "clap": "....x.......x...",
                "open hat": "..x...x...x...x.",
                "bass": "..x-..x-..x-..x-",
                "chord": "x-.x-.x---x-....",
            },
            {
                "kick": "x...x...x...x...",
                "clap": "....x.......x...",
                "open hat": "..x...x...x...x.",
                "hat": "oo.ooo.ooo.ooo.o",
                "bass": "x-.x-.x---x-.o-.",
                "chord": "..x-..x-..x-..x-",
            },
        ),
        bars_per_chord=2,
        seventh=True,
        swing=0.08,
        pump=0.6,
    ),
    "techno": Style(
        names=("techno", "warehouse techno", "driving techno"),
        bpm=(128, 142),
        minor=0.95,
        basses=("acid", "reese"),
        chords=("stab", "strings", None),
        melodies=("square", None),
        moods=("hypnotic", "driving", "industrial"),
        grooves=(
            {
                "kick": "x...x...x...x...",
                "hat": "..x...x...x...x.",
                "rim": "...o......o.....",
                "bass": "..x.x.x...x.x.x.",
                "chord": "...x-.....x-....",
            },
            {
                "kick": "x...x...x...x...",
                "hat": "x.xxx.xxx.xxx.xx",
                "clap": "....x.......x...",
                "bass": ".xxx.xxx.xxx.xox",
                "chord": "..x-......x-....",
            },
        ),
        melody_style="arp",
        bars_per_chord=2,
        reverb=(0.8, 0.2),
        pump=0.4,
    ),
    "lofi": Style(
        names=("lofi", "lo-fi hip hop", "lofi beat", "chillhop"),
        bpm=(70, 90),
        minor=0.5,
        basses=("sub",),
        chords=("rhodes", "piano"),
        melodies=("guitar", "kalimba", None),
        moods=("chill", "mellow", "relaxed"),
        grooves=(
            {
                "kick": "x......x..x.....",
                "snare": "....x.......x...",
                "hat": "x.o.x.o.x.o.x.o.",
                "bass": "x------x--x-----",
                "chord": HOLD,
            },
            {
                "kick": "x.........x.....",
                "rim": "....x.......x...",
                "hat": "x.o.x.oox.o.x.o.",
                "bass": "x---------x-----",
                "chord": "x---------x-----",
            },
        ),
        seventh=True,
        swing=0.28,
        tone=4500.0,
        crackle=0.03,
        reverb=(0.5, 0.15),
    ),
    "drum and bass": Style(
        names=("drum and bass", "dnb", "drum n bass", "jungle"),
        bpm=(166, 178),
        minor=0.85,
        basses=("reese", "sub"),
        chords=("pad", "strings", None),
        melodies=("pluck", "lead", None),
        moods=("energetic", "intense", "liquid"),
        grooves=(
            {
                "kick": "x.........x.....",
                "snare": "....x.......x...",
                "hat": "x.x.x.x.x.x.x.x.",
                "bass": "x-----x---x-----",
                "chord": HOLD,
            },
            {
                "kick": "x.........x.....",
                "snare": "....x..o.o..x..o",
                "hat": "xoxoxoxoxoxoxoxo",
                "bass": "x---------x-----",
                "chord": HOLD,
            },
        ),
        bars_per_chord=2,
        reverb=(0.6, 0.15),
    ),
    "ambient": Style(
        names=("ambient", "ambient soundscape", "ambient drone"),
        bpm=(60, 90),
        minor=0.4,
        basses=(None, "sub"),
        chords=("pad", "strings", "choir"),
        melodies=("bell", "kalimba", None),
        moods=("calm", "dreamy", "peaceful"),
        grooves=({"bass": HOLD, "chord": HOLD},),
        drum_share=0.0,
        reverb=(1.5, 0.5),
    ),
    "synthwave": Style(
        names=("synthwave", "80s retrowave", "80s synthwave", "outrun"),
        bpm=(84, 116),
        minor=0.7,
        basses=("saw bass", "square bass"),
        chords=("pad", "strings"),
        melodies=("lead", "square"),
        moods=("retro", "nostalgic", "neon"),
        grooves=(
            {
                "kick": "x...x...x...x...",
                "snare": "....x.......x...",
                "hat": "x.o.x.o.x.o.x.o.",
                "bass": "x.o.x.o.x.o.x.o.",
                "chord": HOLD,
            },
            {
                "kick": "x.......x.......",
                "snare": "....x.......x...",
                "hat": "x.o.x.o.x.o.x.o.",
                "tom": "..............xx",
                "bass": "x.x.x.x.x.x.x.x.",
                "chord": HOLD,
            },
        ),
        melody_style="arp",
        reverb=(1.0, 0.25),
        pump=0.4,
    ),
    "reggaeton": Style(
        names=("reggaeton", "dembow", "latin reggaeton"),
        bpm=(88, 102),
        minor=0.7,
        basses=("808", "sub"),
        chords=("organ", "pad", None),
        melodies=("guitar", "pluck", "marimba"),
        moods=("sunny", "party", "sensual"),
        grooves=(
            {
                "kick": "x...x...x...x...",
                "snare": "...x..x....x..x.",
                "hat": "x...x...x...x...",
                "bass": "x--x--x-x--x--x-",
                "chord": "..x...x...x...x.",
            },
            {
                "kick": "x...x...x...x...",
                "snare": "...x..x....x..x.",
                "hat": "x.x.x.x.x.x.x.x.",
                "bass": "x-----x-x-----x-",
                "chord": "..x...x...x...x.",
            },
        ),
    ),
}

_UNSEEN = {
    "chiptune": Style(
        names=("chiptune", "8-bit video game music"),
        bpm=(140, 176),
        minor=0.2,
        basses=("triangle",),
        chords=(None,),
        melodies=("thin pulse",),
        moods=("playful", "bouncy"),
        grooves=(
            {
                "blip": "x...x...x...x...",
                "hat": "..x...x...x...x.",
                "bass": "x.o.x.o.x.o.x.o.",
                "chord": HOLD,
            },
        ),
        drum_share=1.0,
        melody_style="arp",
        reverb=(0.1, 0.0),
        crush=True,
    ),
    "music box waltz": Style(
        names=("music box waltz", "lullaby waltz"),
        bpm=(96, 126),
        minor=0.3,
        basses=(None,),
        chords=("music box",),
        melodies=("music box",),
        moods=("innocent", "sleepy"),
        grooves=({"chord": "x---x---x---"},),
        drum_share=0.0,
        beats=3,
        reverb=(0.9, 0.25),
    ),
    "gamelan": Style(
        names=("gamelan", "balinese gamelan"),
        bpm=(100, 132),
        minor=1.0,
        basses=("gong",),
        chords=(None,),
        melodies=("metallophone",),
        moods=("ceremonial", "shimmering"),
        grooves=({"conga": "x..x..x.x..x..x.", "bass": HOLD, "chord": HOLD},),
        drum_share=1.0,
        melody_style="arp",
        reverb=(1.2, 0.3),
    ),
    "dub": Style(
        names=("dub", "dub reggae"),
        bpm=(68, 78),
        minor=0.9,
        basses=("sub",),
        chords=("skank",),
        melodies=(None, "melodica"),
        moods=("smoky", "heavy"),
        grooves=(
            {
                "kick": "........x.......",
                "rim": "........x.......",
                "hat": "..x...x...x..oxo",
                "bass": "x--x----x--x----",
                "chord": "..x...x...x...x.",
            },
        ),
        drum_share=1.0,
        reverb=(1.6, 0.45),
    ),
}

STYLES: dict[str, Style] = {**_TRAINED, **_UNSEEN}

GENRES: tuple[str, ...] = tuple(_TRAINED)
"""The genres that the starter is trained on."""

UNSEEN_STYLES: tuple[str, ...] = tuple(_UNSEEN)
"""Styles that it is never trained on: what a twin has to teach it."""
