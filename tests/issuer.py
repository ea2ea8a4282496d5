"""A stand-in for an OpenID Connect issuer: signing keys, tokens, and a server on loopback for its documents."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "authenticated"
DISCOVERY = "/auth/v1/.well-known/openid-configuration"
JWKS = "/auth/v1/.well-known/jwks.json"

Json = dict[str, Any]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def private_key(kind: str, number: int = 0, rsa_bits: int = 2048) -> PrivateKey:
    """A private key of RS256, ES256 or EdDSA; the same for the same arguments, since RSA keys take long to make."""
    if kind == "RS256":
        return rsa.generate_private_key(65537, rsa_bits)
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ES256" else ed25519.Ed25519PrivateKey.generate()


def public_jwk(key: PrivateKey, **members: Any) -> Json:
    """The public part as a member of a key set."""
    algorithm: Any = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
        ed25519.Ed25519PrivateKey: OKPAlgorithm,
    }[next(kind for kind in PrivateKey.__args__ if isinstance(key, kind))]
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **members}


class Issuer:
    """An issuer with a key for each algorithm.

    Attributes:
        url: what `iss` is in its tokens.
        keys: its key set, as it is served.
        answers: (status, headers, body) by path, which replace its own documents.
        asked: the number of requests by path.
        delay: seconds before each answer.
    """

    def __init__(self, url: str = "https://issuer.example/auth/v1") -> None:
        self.url = url
        self.keys = [
            public_jwk(private_key(kind), kid=f"{kind}-0", use="sig", alg=kind) for kind in ("RS256", "ES256", "EdDSA")
        ]
        self.answers: dict[str, tuple[int, Json, bytes]] = {}
        self.asked: Counter[str] = Counter()
        self.delay = 0.0

    def token(
        self,
        subject: str | None = "ada-sub",
        algorithm: str = "RS256",
        key: Any = None,
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token. A claim or a member of the header that is None is left out."""
        now = int(time.time())
        every = {"iss": self.url, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 3600} | claims
        payload = {name: value for name, value in every.items() if value is not None}
        members = {"kid": f"{algorithm}-0"} | dict(header or {})
        named = {name: value for name, value in members.items() if value is not None}
        return signed({"alg": algorithm, "typ": "JWT"} | named, payload, key or private_key(algorithm))

    def document(self, path: str) -> tuple[int, Json, bytes]:
        if path in self.answers:
            return self.answers[path]
        origin = self.url.removesuffix("/auth/v1")
        found = {DISCOVERY: {"issuer": self.url, "jwks_uri": origin + JWKS}, JWKS: {"keys": self.keys}}.get(path)
        return (404, {}, b"{}") if found is None else (200, {}, json.dumps(found).encode())


def signed(header: Json, payload: Any, key: Any) -> str:
    """A token with exactly this header, signed by the algorithm that it names, or unsigned."""
    text = f"{_part(header)}.{_part(payload)}"
    signer = jwt.get_algorithm_by_name(header["alg"])
    prepared = signer.prepare_key(key) if header["alg"] != "none" else None
    return f"{text}.{encoded(signer.sign(text.encode(), prepared))}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _part(value: Any) -> str:
    return encoded(value if isinstance(value, bytes) else json.dumps(value).encode())


@contextmanager
def served_issuer() -> Iterator[Issuer]:
    """An issuer whose documents are served on loopback inside the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            issuer.asked[self.path] += 1
            time.sleep(issuer.delay)
            status, headers, body = issuer.document(self.path)
            self.send_response(status)
            for name, value in (
                {"content-length": str(len(body)), "content-type": "application/json"} | headers
            ).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """The test's output has no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}/auth/v1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
