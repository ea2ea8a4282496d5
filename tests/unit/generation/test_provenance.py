"""Provenance in the tags of every format, and in a signed manifest where there is a certificate."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import c2pa
import numpy as np
import pytest
import soundfile
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contract import OutputFormat, Task
from core.settings import Settings
from generation.content_credentials import ManifestSigner, signer_of
from generation.delivery.loop import Loop
from generation.delivery.riff import loop_chunks, with_chunks
from generation.encode import Sound, decoded, encode
from generation.provenance import Provenance
from runners.messages import TrackAnswer

MADE = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
PROVENANCE = Provenance("ace_step", "starter", 7, ("ada:night@0123456789abcdef",), MADE)
LINE = (
    "AI-generated; backend=ace_step; base=starter; twin=ada:night@0123456789abcdef; seed=7; "
    "made=2026-11-24T12:30:00+00:00"
)
FORMATS: tuple[OutputFormat, ...] = ("wav", "flac", "mp3", "opus")


def track() -> TrackAnswer:
    samples = np.round(8000 * np.sin(np.arange(48_000) / 20)).astype("<i2")
    return TrackAnswer(pcm=np.stack([samples, samples], axis=1).tobytes(), sample_rate=48_000, channels=2)


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_format_has_provenance_tags(output_format: OutputFormat) -> None:
    file, rate = encode(Sound.of(track()), output_format, PROVENANCE)
    with soundfile.SoundFile(io.BytesIO(file)) as sound:
        assert (sound.comment, sound.genre) == (LINE, "AI-generated")
        assert sound.date == ("2026" if output_format == "mp3" else "2026-11-24T12:30:00+00:00")
        if output_format != "mp3":  # LAME writes its own name instead
            assert sound.software.startswith("Producer Twin")
        assert (sound.frames, rate) == (48_000, 48_000)
        if output_format in ("wav", "flac"):
            assert sound.read(dtype="int16").tobytes() == track().pcm


def test_the_provenance_of_the_base_model_has_no_twin() -> None:
    assert "twin=" not in Provenance("musicgen", "starter", 1, made_at=MADE).comment()


def test_the_provenance_of_an_edit_has_its_task_and_sources() -> None:
    edit = Provenance(
        "ace_step",
        "starter",
        1,
        task="repaint",
        source="/data/uploads/ada/j/a;b ü.wav",
        reference="sha256:00",
        made_at=MADE,
    )
    assert (
        "; task=repaint; source=/data/uploads/ada/j/a%3Bb%20%C3%BC.wav; reference=sha256:00; seed=1" in edit.comment()
    )


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A chain of two certificates, as C2PA requires, and the key of the first."""

    def name(text: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, text)]
        )

    usage = {
        "digital_signature": False, "content_commitment": False, "key_encipherment": False, "data_encipherment": False,
        "key_agreement": False, "key_cert_sign": False, "crl_sign": False, "encipher_only": False,
        "decipher_only": False,
    }  # fmt: skip
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    start = datetime.now(UTC) - timedelta(days=1)

    def make(subject: str, public: ec.EllipticCurvePublicKey, *extensions: tuple[x509.ExtensionType, bool]) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("root"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=30))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    leaf = make(
        "signer",
        key.public_key(),
        (x509.BasicConstraints(False, None), True),
        (x509.KeyUsage(**usage | {"digital_signature": True}), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
    )
    root = make(
        "root",
        root_key.public_key(),
        (x509.BasicConstraints(True, None), True),
        (x509.KeyUsage(**usage | {"key_cert_sign": True}), True),
    )
    chain, private = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(leaf + root)
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, private


@pytest.mark.parametrize(
    ("output_format", "media_type"), [("wav", "audio/wav"), ("flac", "audio/flac"), ("mp3", "audio/mpeg")]
)
def test_a_signed_manifest(output_format: OutputFormat, media_type: str, certificate: tuple[Path, Path]) -> None:
    file, _ = encode(Sound.of(track()), output_format, PROVENANCE)
    signed = ManifestSigner(*certificate).sign(file, output_format, PROVENANCE)
    with c2pa.Reader(media_type, io.BytesIO(signed)) as reader:
        store = json.loads(reader.json())
    assert store["validation_state"] == "Valid"
    (assertion,) = (
        one for one in store["manifests"][store["active_manifest"]]["assertions"] if "actions" in one["label"]
    )
    (action,) = assertion["data"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert action["description"] == LINE
    # The tags and the audio are unchanged.
    before, after = (soundfile.SoundFile(io.BytesIO(data)) for data in (file, signed))
    assert after.comment == LINE
    assert (before.read() == after.read()).all()
    # A later change of the audio, before or after the manifest, invalidates it.
    changed = bytearray(signed)
    changed[len(signed) - len(file) // 4] ^= 1
    with c2pa.Reader(media_type, io.BytesIO(bytes(changed))) as reader:
        assert json.loads(reader.json())["validation_state"] == "Invalid"


def test_a_signed_m4a(certificate: tuple[Path, Path]) -> None:
    file, _ = encode(Sound.of(track()), "m4a", PROVENANCE)
    signed = ManifestSigner(*certificate).sign(file, "m4a", PROVENANCE)
    with c2pa.Reader("audio/mp4", io.BytesIO(signed)) as reader:
        assert json.loads(reader.json())["validation_state"] == "Valid"
    assert (decoded(signed, "m4a") == decoded(file, "m4a")).all()


def test_a_signed_loop_keeps_its_chunks(certificate: tuple[Path, Path]) -> None:
    file, _ = encode(Sound.of(track()), "wav", PROVENANCE)
    chunks = loop_chunks(Loop(1, 240, "4"), "A minor", 48_000, 48_000)
    signed = ManifestSigner(*certificate).sign(with_chunks(file, chunks), "wav", PROVENANCE)
    assert all(name + len(data).to_bytes(4, "little") + data in signed for name, data in chunks.items())
    assert soundfile.info(io.BytesIO(signed)).frames == 48_000


def test_a_manifest_says_that_a_part_is_the_sources(certificate: tuple[Path, Path]) -> None:
    expected_of: dict[Task, str] = {
        "repaint": "/compositeWithTrainedAlgorithmicMedia",
        "cover": "/trainedAlgorithmicMedia",
    }
    for task, expected in expected_of.items():
        provenance = replace(PROVENANCE, task=task, source="/data/outputs/base/a.wav")
        file, _ = encode(Sound.of(track()), "wav", provenance)
        with c2pa.Reader("audio/wav", io.BytesIO(ManifestSigner(*certificate).sign(file, "wav", provenance))) as reader:
            store = json.loads(reader.json())
        assert store["validation_state"] == "Valid"
        assertions = store["manifests"][store["active_manifest"]]["assertions"]
        (action,) = next(one for one in assertions if "actions" in one["label"])["data"]["actions"]
        assert action["digitalSourceType"].endswith(expected) and f"task={task}" in action["description"]


def test_opus_has_no_manifest(certificate: tuple[Path, Path]) -> None:
    file, _ = encode(Sound.of(track()), "opus", PROVENANCE)
    assert ManifestSigner(*certificate).sign(file, "opus", PROVENANCE) == file


def test_a_certificate_that_cannot_sign_is_refused_at_once(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    chain, key = certificate
    other = tmp_path / "other.pem"
    other.write_text("no key")
    for wrong, setting in (
        ((chain, other), "C2PA_PRIVATE_KEY"),
        ((tmp_path / "x", key), "C2PA_CERTIFICATE"),
        ((key, key), "C2PA"),
    ):
        with pytest.raises(ValueError, match=setting):
            ManifestSigner(*wrong)
    assert signer_of(Settings()) is None
    assert signer_of(Settings(c2pa_certificate=chain, c2pa_private_key=key))
