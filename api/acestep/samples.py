"""Samples for `/create_random_sample`, in ACE-Step's fields."""

from __future__ import annotations

from typing import Any

SAMPLES: tuple[dict[str, Any], ...] = (
    {
        "caption": "dark trap beat, rolling hi-hats, deep 808 bass, minor-key bells",
        "lyrics": "[Instrumental]",
        "bpm": 140,
        "key_scale": "A minor",
        "time_signature": "4",
        "audio_duration": 60,
    },
    {
        "caption": "warm house groove, four-on-the-floor kick, electric piano chords, filtered disco strings",
        "lyrics": "[Instrumental]",
        "bpm": 124,
        "key_scale": "F major",
        "time_signature": "4",
        "audio_duration": 90,
    },
    {
        "caption": "slow piano ballad, brushed drums, upright bass, intimate female voice",
        "lyrics": "[Verse]\nThe kettle hums, the window clears\nA letter waits from other years\n"
        "[Chorus]\nLeave the light on, leave the door\nI know the way I walked before",
        "bpm": 72,
        "key_scale": "D major",
        "time_signature": "3",
        "audio_duration": 90,
    },
    {
        "caption": "lo-fi hip hop, dusty drums, mellow guitar loop, vinyl crackle",
        "lyrics": "[Instrumental]",
        "bpm": 84,
        "key_scale": "E minor",
        "time_signature": "4",
        "audio_duration": 60,
    },
    {
        "caption": "fast drum and bass, reese bass, chopped breaks, airy pads",
        "lyrics": "[Instrumental]",
        "bpm": 174,
        "key_scale": "G minor",
        "time_signature": "4",
        "audio_duration": 60,
    },
    {
        "caption": "acoustic folk, fingerpicked guitar, hand claps, two voices in harmony",
        "lyrics": "[Verse]\nWe built a fire beside the lake\nAnd sang the morning half awake\n"
        "[Chorus]\nOh carry me over, carry me home\nNo road is long that is not walked alone",
        "bpm": 108,
        "key_scale": "C major",
        "time_signature": "4",
        "audio_duration": 90,
    },
)
