"""Content Credentials: a signed C2PA manifest (https://c2pa.org) in generated files, if a certificate is configured.

The manifest holds the provenance that the tags hold, and shows whether the file was changed. WAV, FLAC, MP3 and M4A can
hold one; Opus cannot.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from contract import OutputFormat
from generation.encode import MEDIA_TYPES
from generation.provenance import SOFTWARE, Provenance

if TYPE_CHECKING:
    from core.settings import Settings

_SIGNABLE: tuple[OutputFormat, ...] = ("wav", "flac", "mp3", "m4a")
# IPTC's terms for media that a trained model made, in whole or in part.
_MADE_WHOLE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_MADE_IN_PART = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_UNTRUSTED_ISSUER = "signingCredential.untrusted"
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class ManifestSigner:
    """Adds signed manifests to files.

    Args:
        certificate: a certificate chain in PEM form.
        private_key: the unencrypted private key of its first certificate, in PEM form.
        timestamp_url: an RFC 3161 timestamp service.

    Raises:
        ValueError: the certificate and key cannot sign; the message names the setting.
    """

    def __init__(self, certificate: Path, private_key: Path, timestamp_url: str | None = None) -> None:
        import c2pa

        chain, key = _read(certificate, "C2PA_CERTIFICATE"), _read(private_key, "C2PA_PRIVATE_KEY")
        algorithm = getattr(c2pa.C2paSigningAlg, _algorithm(key))
        self._info = c2pa.C2paSignerInfo(algorithm, chain, key, timestamp_url.encode() if timestamp_url else None)
        try:
            self._check()
        except c2pa.C2paError as error:
            raise ValueError(f"C2PA_CERTIFICATE, C2PA_PRIVATE_KEY: they cannot sign: {error}") from None

    def sign(self, file: bytes, output_format: OutputFormat, provenance: Provenance) -> bytes:
        """The file with a manifest; unchanged if its format cannot hold one."""
        import c2pa

        if output_format not in _SIGNABLE:
            return file
        signed = io.BytesIO()
        with c2pa.Signer.from_info(self._info) as signer, c2pa.Builder(_manifest(provenance)) as builder:
            builder.sign(signer, MEDIA_TYPES[output_format], io.BytesIO(file), signed)
        return signed.getvalue()

    def _check(self) -> None:
        """Sign a short silence and verify the signature. Raises `C2paError`."""
        import c2pa

        silence = io.BytesIO()
        soundfile.write(silence, np.zeros(100, np.int16), 8000, format="WAV")
        signed = io.BytesIO(self.sign(silence.getvalue(), "wav", Provenance("none", "none", 0)))
        with c2pa.Reader("audio/wav", signed) as reader:
            found = json.loads(reader.json())
        # Each reader has its own list of trusted issuers.
        faults = [one["code"] for one in found.get("validation_status", []) if one["code"] != _UNTRUSTED_ISSUER]
        if faults:
            raise c2pa.C2paError(", ".join(faults))


def signer_of(settings: Settings) -> ManifestSigner | None:
    """The configured signer; `None` if no certificate is configured."""
    if not (settings.c2pa_certificate and settings.c2pa_private_key):
        return None
    return ManifestSigner(settings.c2pa_certificate, settings.c2pa_private_key, settings.c2pa_timestamp_url)


def _manifest(provenance: Provenance) -> dict[str, Any]:
    created = {
        "action": "c2pa.created",
        "digitalSourceType": _MADE_IN_PART if provenance.keeps_source else _MADE_WHOLE,
        "softwareAgent": {"name": f"{SOFTWARE} ({provenance.backend}, {provenance.base})"},
        "description": provenance.comment(),
    }
    return {
        "claim_generator_info": [{"name": SOFTWARE}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{setting}: {path} cannot be read: {error.strerror}") from None


def _algorithm(key: bytes) -> str:
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("C2PA_PRIVATE_KEY: it is not an unencrypted private key in PEM form") from None
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES:
        return _CURVES[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey):
        return "PS256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ED25519"
    raise ValueError("C2PA_PRIVATE_KEY: use a key of P-256, P-384, P-521, Ed25519 or RSA")
