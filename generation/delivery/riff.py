"""Chunks of WAV files that samplers and DAWs read: `smpl`, `acid` and `id3 `."""

from __future__ import annotations

import struct

from core.notation import pitch
from generation.delivery.loop import Loop

_MIDDLE_C = 60  # as a MIDI note
_ROOT_NOTE_IS_SET, _STRETCHES = 0x02, 0x04
_DENOMINATORS = {"6": 8}


def with_chunks(wav: bytes, chunks: dict[bytes, bytes]) -> bytes:
    """The file with chunks behind its own ones."""
    body = wav[8:] + b"\0" * (len(wav) % 2) + encoded(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def header(chunks: dict[bytes, bytes], data_bytes: int) -> bytes:
    """The beginning of a WAV file, up to the samples: these chunks, and the head of the chunk with the samples."""
    before = b"WAVE" + encoded(chunks) + b"data" + struct.pack("<I", data_bytes)
    return b"RIFF" + struct.pack("<I", len(before) + data_bytes + data_bytes % 2) + before


def encoded(chunks: dict[bytes, bytes]) -> bytes:
    """Chunks by their names, each padded to whole words."""
    return b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks.items()
    )


def loop_chunks(loop: Loop, key: str | None, frames: int, rate: int) -> dict[bytes, bytes]:
    """The sampler's chunk with a loop over all frames, and Acid's with tempo, metre and root note.

    Args:
        key: such as `A minor`.
    """
    root = _MIDDLE_C + (pitch(key.split()[0]) if key else 0)
    # Nine numbers of the sampler, one loop; it: id, forward, first and last frame, fraction, endless.
    sampler = struct.pack("<9I6I", 0, 0, round(1e9 / rate), root, 0, 0, 0, 1, 0, 0, 0, 0, frames - 1, 0, 0)
    flags = _STRETCHES | (_ROOT_NOTE_IS_SET if key else 0)
    numerator, denominator = int(loop.time_signature), _DENOMINATORS.get(loop.time_signature, 4)
    acid = struct.pack("<IHHfIHHf", flags, root, 0x8000, 0, loop.beats, denominator, numerator, loop.bpm)
    return {b"smpl": sampler, b"acid": acid}
