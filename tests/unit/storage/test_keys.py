"""Keys, paths and file names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Refusal
from storage import BadKey, keys, open_storage

BAD_KEYS = [
    *("", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.b", ".a", "a\\b", "a\0b", "a\nb"),
    *("a" * 256, "é" * 128, "/".join(["a" * 200] * 6), "\ud800", "a\x7f"),
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_are_refused_everywhere(key: str, tmp_path: Path) -> None:
    store = open_storage((tmp_path / "root").as_uri())
    calls: list[Callable[[], object]] = [
        lambda: store.put(key, b"x"),
        lambda: store.get(key),
        lambda: store.stat(key),
        lambda: store.delete(key),
        lambda: store.get_range(key, 0, 1),
        lambda: keys.to_path(key),
    ]
    for call in calls:
        with pytest.raises(BadKey):
            call()
    with pytest.raises(Refusal, match="the_field") as refusal:
        keys.from_path("/data/" + key, "the_field")
    assert refusal.value.status == 400
    refusal.value.message.encode()  # can be sent
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.sampled_from(["..", ".", "a", "é", "/", "//", "\\", "\0", "~", "%2e", " ", "\n"])).map("".join))
def test_no_key_leaves_the_root(key: str) -> None:
    if keys.is_key(key):
        root = Path("/root/of/all")
        assert Path(os.path.normpath(root / key)).is_relative_to(root)
        assert os.path.normpath(root / key) == str(root / key)
        assert keys.from_path(keys.to_path(key)) == key


@given(st.text())
def test_any_text_as_file_name(name: str) -> None:
    try:
        safe = keys.safe_filename(name)
    except Refusal as refusal:
        assert refusal.status == 400
    else:
        assert keys.is_key(keys.upload("p", "j", safe))
        assert "/" not in safe
        assert keys.safe_filename(safe) == safe


def test_file_names() -> None:
    expected = {
        "beat.wav": "beat.wav",
        "My Beat (final) é.WAV": "My Beat (final) é.WAV",
        "../../etc/passwd": "passwd",
        "C:\\music\\a.mp3": "a.mp3",
        ".hidden.wav": "hidden.wav",
        "a\x00b\n.wav": "ab.wav",
        "..wav": "wav",
        "x" * 400 + ".flac": "x" * 195 + ".flac",
    }
    assert {name: keys.safe_filename(name) for name in expected} == expected
    for name in ("", "..", "/", "a/", "\n", "...", " "):
        with pytest.raises(Refusal, match="filename"):
            keys.safe_filename(name)


@pytest.mark.parametrize("path", ["uploads/a", "/etc/passwd", "/data", "/data/", "/database/x", "/data/../x"])
def test_paths_outside_data_are_refused(path: str) -> None:
    with pytest.raises(Refusal, match=r"upload_paths\[0\]"):
        keys.from_path(path, "upload_paths[0]")


def test_no_two_functions_of_the_tree_share_a_key() -> None:
    made = [
        keys.upload("p", "j", "f"),
        keys.dataset_clip("p", "j", 0, "wav"),
        keys.dataset_record("p", "j"),
        keys.training_audio("p", 0),
        keys.training_text("p", "seg_0000"),
        keys.training_record("p"),
        keys.training_lease("p"),
        keys.job_record("j"),
        keys.job_audio("j", 0),
        keys.job_text("j", "seg_0000"),
        keys.lora("p", "m"),
        keys.lora_owner("p", "m"),
        keys.lora_version("p", "m", "v"),
        keys.lora_lease("p"),
        keys.model("p"),
        keys.model_config("p"),
        keys.output("p", "n", "wav"),
        keys.output(None, "n", "wav"),
    ]
    assert len(set(made)) == len(made)
    assert all(keys.is_key(key) for key in made)
    assert keys.to_path(keys.lora("p", "m")) == "/data/loras/p_m.safetensors"
    assert keys.to_path(keys.training_audio("p", 7)) == "/data/training_data/p/audio/seg_0007.wav"
