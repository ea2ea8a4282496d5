"""Archives and safetensors headers of unknown origin are refused quickly, and do no harm."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import save

from adapters.adapter_file import InvalidAdapter
from adapters.safetensors_header import MAX_TENSORS, read_safetensors_header
from api.imports.unpack import unpacked
from core.errors import Refusal
from tests.stress.parsers import damaged_header, import_files

ADAPTER = save({"x.lora_A.weight": torch.ones(2, 3), "x.lora_B.weight": torch.ones(3, 2)})
CONFIG = b'{"peft_type": "LORA", "r": 2, "lora_alpha": 2}'
FOLDER = {"night/adapter_model.safetensors": ADAPTER, "night/adapter_config.json": CONFIG}


def zipped(files: dict[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", packed) as target:
        for name, data in files.items():
            # Names as they are, backslashes and all.
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, packed
            target.writestr(info, data)
    return archive.getvalue()


def refusal(data: bytes, name: str = "a.zip") -> Refusal:
    begun = time.process_time()
    with pytest.raises(Refusal) as caught:
        unpacked({name: data})
    assert time.process_time() - begun < 1.0
    assert caught.value.status in (400, 413) and caught.value.message.startswith("file: ")
    assert "\n" not in caught.value.message
    return caught.value


CLUTTER: dict[str, bytes] = {
    "__MACOSX/night/._adapter_model.safetensors": b"\0\5\x16\7",
    "__MACOSX/night/._adapter_config.json": b"\0\5\x16\7",
    "night/._adapter_model.safetensors": b"\0\5\x16\7",
    "night/.DS_Store": b"x",
    "night/Thumbs.db": b"x",
    "night/Icon\r": b"",
    "night/": b"",
    "night/README.md": b"hello",
    "night/training_state.pt": b"\x80\2",
}


@pytest.mark.parametrize("clutter", [[each] for each in CLUTTER] + [list(CLUTTER)], ids=str)
def test_what_systems_put_beside_it(clutter: list[str]) -> None:
    assert unpacked({"a.zip": zipped(FOLDER | {name: CLUTTER[name] for name in clutter})}) == (ADAPTER, CONFIG)


def test_how_archives_are_made() -> None:
    for packed in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert unpacked({"a.zip": zipped(FOLDER, packed)}) == (ADAPTER, CONFIG)
    windows = {name.replace("/", "\\"): data for name, data in FOLDER.items()}
    assert unpacked({"a.zip": zipped(windows)}) == (ADAPTER, CONFIG)
    here = {f"./{name}": data for name, data in FOLDER.items()}
    assert unpacked({"upload": zipped(here)}) == (ADAPTER, CONFIG)
    assert unpacked({"a.zip": zipped({"LORA.SAFETENSORS": ADAPTER})}) == (ADAPTER, None)
    streamed = io.BytesIO()
    with zipfile.ZipFile(streamed, "w") as archive:
        for name, data in FOLDER.items():
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(data)
    assert unpacked({"a.zip": streamed.getvalue()}) == (ADAPTER, CONFIG)
    assert unpacked({"b.safetensors": ADAPTER, "adapter_config.json": CONFIG}) == (ADAPTER, CONFIG)


def test_a_configuration_elsewhere_is_another_adapters() -> None:
    files = {"night/adapter_model.safetensors": ADAPTER, "day/adapter_config.json": CONFIG}
    assert unpacked({"a.zip": zipped(files)}) == (ADAPTER, None)


NAMES = ["/etc/x.safetensors", "../x.safetensors", "a/../../x.safetensors", "C:\\x.safetensors", "..\\x.safetensors"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere(name: str) -> None:
    assert "no path in a folder" in refusal(zipped({name: ADAPTER})).message


def patched(data: bytes, signature: bytes, at: int, value: bytes) -> bytes:
    """With other bytes in every record of this signature."""
    found, start = bytearray(data), 0
    while (start := data.find(signature, start)) >= 0:
        found[start + at : start + at + len(value)] = value
        start += 4
    return bytes(found)


def quine() -> bytes:
    """Two entries of the same bytes."""
    data = bytearray(zipped({"a.safetensors": ADAPTER, "b.safetensors": ADAPTER}, zipfile.ZIP_STORED))
    last = data.rfind(b"PK\1\2")
    data[last + 42 : last + 46] = bytes(4)
    return bytes(data)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "zeros": (lambda: zipped({"x.safetensors": bytes(300_000_000)}), "times its packed size"),
    "zeros that are not wanted, and no adapter": (lambda: zipped({"x.bin": bytes(30_000_000)}), "pickled"),
    "a length that is too small": (
        lambda: patched(zipped(FOLDER), b"PK\1\2", 24, struct.pack("<L", 10)),
        "cannot be read",
    ),
    "a length that is too large": (
        lambda: patched(zipped(FOLDER, zipfile.ZIP_STORED), b"PK\1\2", 24, struct.pack("<L", 4000)),
        "cannot be read|not as long",
    ),
    "many files": (lambda: zipped({f"{number}.txt": b"" for number in range(5000)}), "over 1000 files"),
    "twice the same": (lambda: zipped({"a.safetensors": ADAPTER, "./a.safetensors": ADAPTER}), "twice"),
    "two adapters": (lambda: zipped({"a.safetensors": ADAPTER, "b.safetensors": ADAPTER}), "2 adapters"),
    "entries that overlap": (quine, "overlap"),
    "a zip in a zip": (lambda: zipped({"a.zip": zipped(FOLDER)}), "unzip"),
    "a password": (lambda: patched(zipped(FOLDER), b"PK\1\2", 8, b"\1\0"), "password"),
    "a rare method": (lambda: zipped(FOLDER, zipfile.ZIP_LZMA), "rare"),
    "another rare method": (lambda: zipped(FOLDER, zipfile.ZIP_BZIP2), "rare"),
    "the beginning": (lambda: zipped(FOLDER)[:300], "cut off"),
    "nothing": (lambda: zipped({}), "got nothing"),
    "a pickle": (lambda: zipped({"night/adapter_model.bin": b"\x80\2"}), "pickled"),
    "an adapter that is none": (lambda: zipped({"x.safetensors": b"no"}), "safetensors"),
    "a large configuration": (
        lambda: zipped(FOLDER | {"night/adapter_config.json": random.Random(0).randbytes(2**21)}),
        "adapter_config",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_archives_that_are_refused(kind: str) -> None:
    make, reason = HOSTILE[kind]
    data = make()
    tracemalloc.start()
    found = refusal(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pattern = reason.split("|")
    assert any(each in found.message for each in pattern), found.message
    assert peak < 32 * 2**20 + 4 * len(data)


def test_a_refusal_crosses_processes() -> None:
    found = pickle.loads(pickle.dumps(refusal(b"PK\3\4", "a.zip")))
    assert (found.status, "cut off" in found.message, found.wait) == (400, True, None)


# The table of tensors


def file_of(table: dict[str, Any] | bytes, body: bytes = b"") -> bytes:
    header = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + body


def row(shape: list[Any], start: int, end: int, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


TABLES: dict[str, tuple[Callable[[], bytes], str]] = {
    "150,000 empty tensors": (lambda: file_of({f"t{n}": row([0], 0, 0) for n in range(100_000)}), "tensors"),
    "more than there are": (
        lambda: file_of(
            {f"t{n}": row([1], 4 * n, 4 * n + 4) for n in range(MAX_TENSORS + 1)}, bytes(4 * MAX_TENSORS + 4)
        ),
        "tensors",
    ),
    "one that is empty": (lambda: file_of({"x": row([0, 4], 0, 0)}), "empty"),
    "overlapping": (lambda: file_of({"x": row([2], 0, 8), "y": row([2], 4, 12)}, bytes(12)), "overlap"),
    "the same bytes": (lambda: file_of({"x": row([2], 0, 8), "y": row([2], 0, 8)}, bytes(8)), "overlap"),
    "a gap": (lambda: file_of({"x": row([1], 0, 4), "y": row([1], 8, 12)}, bytes(12)), "overlap"),
    "bytes at the end": (lambda: file_of({"x": row([1], 0, 4)}, bytes(12)), "belong to no tensor"),
    "too few bytes": (lambda: file_of({"x": row([2], 0, 8)}, bytes(7)), "truncated"),
    "a shape that has more": (lambda: file_of({"x": row([3], 0, 8)}, bytes(8)), "8 bytes"),
    "a huge shape": (lambda: file_of({"x": row([2**39, 2**39], 0, 8)}, bytes(8)), "8 bytes"),
    "a shape of many ones": (lambda: file_of({"x": row([1] * 1000, 0, 4)}, bytes(4)), "shape"),
    "a negative shape": (lambda: file_of({"x": row([-1, -1], 0, 4)}, bytes(4)), "shape"),
    "a shape of truth": (lambda: file_of({"x": row([True], 0, 4)}, bytes(4)), "shape"),
    "a shape of fractions": (lambda: file_of({"x": row([1.0], 0, 4)}, bytes(4)), "shape"),
    "an endless number": (lambda: file_of(b'{"x": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}'), "JSON"),
    "a long number": (lambda: file_of(b'{"x": ' + b"9" * 100_000 + b"}"), "JSON"),
    "backwards": (lambda: file_of({"x": row([1], 4, 0)}, bytes(4)), "bytes"),
    "integers": (lambda: file_of({"x": row([4], 0, 4, "I8")}, bytes(4)), "quantised"),
    "a type that is none": (lambda: file_of({"x": row([1], 0, 4, ["F32"])}, bytes(4)), "type"),
    "a name twice": (
        lambda: file_of(b'{"x": %b, "x": %b}' % ((json.dumps(row([1], 0, 4)).encode(),) * 2), bytes(4)),
        "JSON",
    ),
    "a long name": (lambda: file_of({"x" * 10_000: row([1], 0, 4)}, bytes(4)), "name"),
    "deep": (lambda: file_of(b'{"x":' * 100_000), "JSON"),
    "a list": (lambda: file_of(b"[]"), "object"),
    "not text": (lambda: file_of(b'{"\xff": 1}'), "JSON"),
    "numbers as words": (lambda: file_of({"__metadata__": {"x": {"y": 1}}, "x": row([1], 0, 4)}, bytes(4)), "metadata"),
    "a length beyond the end": (lambda: struct.pack("<Q", 1000) + b"{}", "truncated"),
    "a length of ever": (lambda: struct.pack("<Q", 2**63) + b"{}", "safetensors"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_that_are_refused(kind: str) -> None:
    make, reason = TABLES[kind]
    assert reason in refusal(make(), "x.safetensors").message


def test_a_table_that_is_right() -> None:
    table = read_safetensors_header(ADAPTER)
    assert {name: tuple(entry) for name, entry in table.tensors.items()} == {
        "x.lora_A.weight": ("F32", (2, 3)),
        "x.lora_B.weight": ("F32", (3, 2)),
    }
    whole = save({"x.alpha": torch.tensor(4), "y": torch.ones(2, dtype=torch.float8_e4m3fn)}, {"a": "b"})
    assert read_safetensors_header(whole).metadata == {"a": "b"}


def test_damaged_headers() -> None:
    """Each is taken or refused, at once; the long run is `python -m tests.stress.fuzz imports`."""
    source = random.Random(17)
    for name, data in import_files():
        for _ in range(150):
            begun = time.process_time()
            try:
                unpacked({name: damaged_header(data, source)})
            except Refusal as found:
                assert found.status in (400, 413) and "\n" not in found.message
            assert time.process_time() - begun < 2.0


def test_the_runner_looks_for_itself() -> None:
    with pytest.raises(InvalidAdapter, match="tensors"):
        read_safetensors_header(file_of({f"t{n}": row([1], 4 * n, 4 * n + 4) for n in range(MAX_TENSORS + 1)}))
