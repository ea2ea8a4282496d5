"""Ensembles: General MIDI instruments by role, and the words that name them."""

from __future__ import annotations

from dataclasses import dataclass

INSTRUMENTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "grand piano": (0, ("piano", "grand piano")),
    "bright piano": (1, ("piano", "bright piano")),
    "electric piano": (4, ("electric piano", "rhodes")),
    "harpsichord": (6, ("harpsichord",)),
    "vibraphone": (11, ("vibraphone",)),
    "marimba": (12, ("marimba",)),
    "church organ": (19, ("church organ", "pipe organ")),
    "hammond organ": (16, ("hammond organ", "organ")),
    "accordion": (21, ("accordion",)),
    "nylon guitar": (24, ("acoustic guitar", "classical guitar")),
    "steel guitar": (25, ("acoustic guitar", "steel-string guitar")),
    "jazz guitar": (26, ("jazz guitar", "electric guitar")),
    "clean guitar": (27, ("clean electric guitar", "electric guitar")),
    "overdriven guitar": (29, ("overdriven guitar", "electric guitar")),
    "distorted guitar": (30, ("distorted guitar", "electric guitar", "heavy guitar")),
    "double bass": (32, ("upright bass", "double bass")),
    "finger bass": (33, ("bass guitar", "electric bass")),
    "picked bass": (34, ("bass guitar", "picked bass")),
    "synth bass": (38, ("synth bass",)),
    "violin": (40, ("violin", "fiddle")),
    "viola": (41, ("viola",)),
    "cello": (42, ("cello",)),
    "contrabass": (43, ("double basses",)),
    "tremolo strings": (44, ("tremolo strings", "strings")),
    "pizzicato strings": (45, ("pizzicato strings", "strings")),
    "harp": (46, ("harp",)),
    "timpani": (47, ("timpani",)),
    "strings": (48, ("strings", "string section")),
    "slow strings": (49, ("strings", "slow strings")),
    "choir": (52, ("choir",)),
    "trumpet": (56, ("trumpet",)),
    "trombone": (57, ("trombone",)),
    "tuba": (58, ("tuba",)),
    "horn": (60, ("french horn", "horns")),
    "brass": (61, ("brass", "brass section")),
    "alto sax": (65, ("saxophone", "alto sax")),
    "oboe": (68, ("oboe",)),
    "bassoon": (70, ("bassoon",)),
    "clarinet": (71, ("clarinet",)),
    "flute": (73, ("flute",)),
    "recorder": (74, ("recorder",)),
    "slap bass": (36, ("slap bass", "bass guitar")),
    "second synth bass": (39, ("synth bass",)),
    "synth strings": (50, ("synth strings",)),
    "synth brass": (62, ("synth brass",)),
    "square lead": (80, ("square lead", "synth lead")),
    "saw lead": (81, ("synth lead",)),
    "bass and lead": (87, ("synth lead",)),
    "bell pad": (88, ("synth pad", "bell pad")),
    "warm pad": (89, ("synth pad", "warm pad")),
    "polysynth": (90, ("polysynth", "synthesizer")),
    "choir pad": (91, ("choir pad", "synth pad")),
    "metallic pad": (93, ("synth pad", "metallic pad")),
    "sweep pad": (95, ("synth pad", "sweep pad")),
}


@dataclass(frozen=True)
class Ensemble:
    """A kind of ensemble.

    Attributes:
        names: common names, the plainest first.
        bpm: tempos of quarter notes.
        melody, inner, bass: instruments that a role is drawn from; several names in one entry play together.
        patterns: accompaniments of `arrangement.PATTERNS`.
        drums: patterns of sixteenths, or none.
        drive: distortion of the whole, 0 to 1.
        room: seconds of reverberation, from and to.
        bass_lines: of `arrangement.BASS_LINES`.
        kits: programs of the drum kits.
        echo: the largest level of an echo after a dotted eighth.
    """

    names: tuple[str, ...]
    bpm: tuple[int, int]
    melody: tuple[tuple[str, ...], ...]
    inner: tuple[tuple[str, ...], ...]
    bass: tuple[tuple[str, ...], ...]
    patterns: tuple[str, ...]
    drums: tuple[dict[str, str], ...] = ()
    drive: float = 0.0
    room: tuple[float, float] = (0.3, 1.2)
    bass_lines: tuple[str, ...] = ("held",)
    kits: tuple[int, ...] = (0, 16)
    echo: float = 0.0


_ROCK = (
    {"kick": "x.....x.x.......", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x..x..x...x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x.x...x.x.x...x.", "snare": "....x.......x..o", "ride": "x...x...x...x..."},
)
_METAL = (
    {"kick": "xxxxxxxxxxxxxxxx", "snare": "....x.......x...", "crash": "x..............."},
    {"kick": "x.xxx.xxx.xxx.xx", "snare": "..x...x...x...x.", "hat": "x.x.x.x.x.x.x.x."},
)
_SWING = ({"ride": "x...x..ox...x..o", "hat": "....x.......x...", "kick": "o.......o......."},)
_FOLK = ({"kick": "x.......x.......", "hat": "..x...x...x...x."}, {"tambourine": "x.x.x.x.x.x.x.x."})

_DANCE = (
    {"kick": "x...x...x...x...", "clap": "....x.......x...", "open hat": "..x...x...x...x."},
    {
        "kick": "x...x...x...x...",
        "hat": "x.xxx.xxx.xxx.xx",
        "open hat": "..x...x...x...x.",
        "snare": "....x.......x..o",
    },
    {"kick": "x...x...x...x...", "rim": "...x..x....x..x.", "hat": "..x...x...x...x."},
)
_BREAKS = (
    {"kick": "x.x.......x..x..", "snare": "....x..o.o..x...", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x..x......xx....", "snare": "....x..o....x.o.", "ride": "x.x.x.x.x.x.x.x."},
    {"kick": "x.........x.....", "snare": "....x.......x..o", "hat": "xxxxxxxxxxxxxxxx", "tom": "..............x."},
)
_MARCH = (
    {"kick": "x...x...x...x...", "snare": "..x.x.xx..x.x.xx"},
    {"kick": "x.....x.x.....x.", "crash": "x..............."},
    {"timpani": "x..x..x.x.x.x.xx"},
)
_LEADS = (("saw lead",), ("square lead",), ("polysynth",), ("bass and lead",), ("synth brass",), ("bell pad",))
_PADS = (("warm pad",), ("choir pad",), ("synth strings",), ("metallic pad",), ("sweep pad",), ("bell pad",))
_SYNTH_BASSES = (("synth bass",), ("second synth bass",))
_ELECTRONIC_KITS = (8, 24, 25)

ENSEMBLES: dict[str, Ensemble] = {
    "orchestral": Ensemble(
        ("orchestral", "orchestra", "symphonic"),
        (60, 132),
        (
            ("strings", "flute"),
            ("strings",),
            ("oboe",),
            ("horn", "strings"),
            ("trumpet", "brass"),
            ("violin", "strings"),
        ),
        (("strings",), ("slow strings", "horn"), ("tremolo strings",), ("clarinet", "strings"), ("harp", "strings")),
        (("contrabass", "cello"), ("cello", "bassoon"), ("contrabass", "tuba")),
        ("held", "repeated", "arpeggio", "off-beat"),
        ({"timpani": "x.......x......."}, {}),
        room=(1.0, 2.6),
    ),
    "strings": Ensemble(
        ("string quartet", "chamber strings"),
        (60, 126),
        (("violin",),),
        (("viola",), ("strings",), ("pizzicato strings",)),
        (("cello",),),
        ("held", "repeated", "off-beat"),
        room=(0.6, 1.8),
    ),
    "piano": Ensemble(
        ("piano", "solo piano"),
        (56, 132),
        (("grand piano",), ("bright piano",)),
        (("grand piano",),),
        (("grand piano",),),
        ("held", "arpeggio", "alberti", "off-beat", "repeated"),
    ),
    "guitar": Ensemble(
        ("acoustic guitar", "guitar"),
        (70, 132),
        (("nylon guitar",), ("steel guitar",)),
        (("nylon guitar",), ("steel guitar",)),
        (("nylon guitar",), ("steel guitar",)),
        ("arpeggio", "strummed", "alberti"),
    ),
    "rock": Ensemble(
        ("rock", "rock band", "guitar rock"),
        (96, 168),
        (("overdriven guitar",), ("distorted guitar",), ("hammond organ",)),
        (("distorted guitar",), ("overdriven guitar",), ("clean guitar",)),
        (("picked bass",), ("finger bass",)),
        ("power", "strummed", "repeated"),
        _ROCK,
        drive=0.35,
    ),
    "metal": Ensemble(
        ("metal", "heavy metal"),
        (120, 190),
        (("distorted guitar",), ("distorted guitar", "choir")),
        (("distorted guitar",),),
        (("picked bass",),),
        ("power",),
        _METAL,
        drive=0.8,
    ),
    "folk": Ensemble(
        ("folk", "celtic folk"),
        (84, 144),
        (("violin",), ("flute",), ("accordion",), ("recorder",)),
        (("steel guitar",), ("accordion",), ("harp",)),
        (("double bass",),),
        ("strummed", "off-beat", "arpeggio"),
        (*_FOLK, {}),
    ),
    "jazz": Ensemble(
        ("jazz", "jazz trio"),
        (84, 176),
        (("alto sax",), ("trumpet",), ("grand piano",), ("vibraphone",), ("jazz guitar",)),
        (("grand piano",), ("electric piano",), ("jazz guitar",)),
        (("double bass",),),
        ("off-beat", "held"),
        _SWING,
    ),
    "organ and choir": Ensemble(
        ("church music", "organ and choir"),
        (54, 96),
        (("church organ",), ("choir",), ("trumpet", "church organ")),
        (("church organ",), ("choir",)),
        (("church organ",),),
        ("held",),
        room=(1.5, 3.5),
    ),
    "baroque": Ensemble(
        ("baroque", "baroque ensemble"),
        (66, 126),
        (("recorder",), ("oboe",), ("violin",)),
        (("harpsichord",),),
        (("cello", "harpsichord"), ("bassoon",)),
        ("held", "arpeggio", "repeated"),
        room=(0.6, 1.6),
    ),
    "pop": Ensemble(
        ("pop", "pop band"),
        (88, 128),
        (("clean guitar",), ("electric piano",), ("saw lead",)),
        (("electric piano",), ("warm pad",), ("steel guitar",)),
        (("finger bass",), ("synth bass",)),
        ("held", "strummed", "arpeggio"),
        _ROCK,
        drive=0.1,
    ),
    "dance": Ensemble(
        ("electronic dance", "trance", "electronic"),
        (118, 150),
        _LEADS,
        (*_PADS, ("polysynth",), ("saw lead",)),
        _SYNTH_BASSES,
        ("held", "repeated", "arpeggio", "off-beat"),
        _DANCE,
        drive=0.15,
        bass_lines=("eighths", "off-beat", "octaves"),
        kits=_ELECTRONIC_KITS,
        echo=0.5,
    ),
    "breakbeat": Ensemble(
        ("breakbeat", "big beat", "electronic"),
        (96, 172),
        (*_LEADS, ("electric piano",), ("vibraphone",)),
        (*_PADS, ("clean guitar",), ("electric piano",)),
        (*_SYNTH_BASSES, ("slap bass",)),
        ("held", "off-beat", "arpeggio"),
        _BREAKS,
        drive=0.3,
        bass_lines=("held", "eighths", "octaves"),
        kits=_ELECTRONIC_KITS,
        echo=0.4,
    ),
    "industrial": Ensemble(
        ("industrial", "electronic rock", "industrial metal"),
        (90, 160),
        (("distorted guitar",), ("saw lead", "distorted guitar"), ("synth brass",), ("strings", "choir")),
        (("distorted guitar",), ("synth strings",), ("metallic pad", "overdriven guitar")),
        (*_SYNTH_BASSES, ("picked bass",)),
        ("power", "repeated", "held"),
        (*_DANCE, *_BREAKS),
        drive=0.6,
        bass_lines=("eighths", "held"),
        kits=(16, 24),
    ),
    "space ambient": Ensemble(
        ("space ambient", "atmospheric", "soundscape"),
        (56, 110),
        (*_PADS, ("vibraphone",), ("electric piano",), ("flute", "sweep pad")),
        (*_PADS, ("choir",), ("slow strings",)),
        (("second synth bass",), ("warm pad",), ("contrabass",)),
        ("held", "arpeggio"),
        room=(1.5, 4.0),
        echo=0.6,
    ),
    "epic": Ensemble(
        ("epic orchestral", "cinematic", "film music"),
        (80, 150),
        (("brass", "strings"), ("horn", "choir"), ("trumpet", "brass"), ("strings", "choir")),
        (("strings", "choir"), ("tremolo strings",), ("brass", "slow strings"), ("pizzicato strings", "harp")),
        (("contrabass", "second synth bass"), ("contrabass", "trombone"), ("cello", "tuba")),
        ("held", "repeated", "arpeggio"),
        _MARCH,
        drive=0.15,
        room=(1.0, 3.0),
        bass_lines=("held", "eighths"),
        kits=(16, 48),
    ),
}
