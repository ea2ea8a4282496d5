"""Which tokens are valid, and attacks on tokens: each is signed so that only the guard that it is about refuses it."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.auth import tokens
from api.auth.issuer_keys import IssuerKeys, usable_keys
from api.auth.tokens import CLOCK_SKEW_SECONDS, MAX_TOKEN_CHARACTERS, InvalidToken, TokenVerifier, claim_of
from tests.issuer import AUDIENCE, Issuer, encoded, private_key, public_jwk, signed

SECRET = "a secret of an older project, long enough"
ISSUER = Issuer()


class KnownKeys(IssuerKeys):
    """The keys of an issuer that has just been asked."""

    def __init__(self, keys: list[dict[str, Any]]) -> None:
        super().__init__(ISSUER.url)
        self._keys, self._fetched_at, self._begun_at = usable_keys(json.dumps({"keys": keys}).encode()), 0.0, 0.0
        self._clock = lambda: 0.0


def verified(token: str, secret: str | None = None, keys: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    verifier = TokenVerifier(ISSUER.url, AUDIENCE, KnownKeys(ISSUER.keys if keys is None else keys), secret)
    return dict(asyncio.run(verifier.verify(token)))


def refusal(token: str, secret: str | None = None, keys: list[dict[str, Any]] | None = None) -> str:
    with pytest.raises(InvalidToken) as error:
        verified(token, secret, keys)
    return str(error.value)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_of_the_issuer_is_valid(algorithm: str) -> None:
    assert verified(ISSUER.token(algorithm=algorithm))["sub"] == "ada-sub"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
def test_types_that_give_access(kind: str | None) -> None:
    header = {"alg": "ES256", "kid": "ES256-0"} | ({} if kind is None else {"typ": kind})
    payload = {"iss": ISSUER.url, "aud": [AUDIENCE, "other"], "sub": "ada-sub", "exp": time.time() + 60}
    assert verified(signed(header, payload, private_key("ES256")))


def test_a_token_without_a_key_id_fits_the_only_key_of_its_algorithm() -> None:
    token = ISSUER.token(algorithm="ES256", header={"kid": None})
    assert verified(token)
    two = [public_jwk(private_key("ES256", number), kid=str(number)) for number in (0, 1)]
    assert "no such key" in refusal(token, keys=two)


def test_a_shared_secret_signs_only_where_it_is_set() -> None:
    token = ISSUER.token(algorithm="HS256", key=SECRET.encode(), header={"kid": None})
    assert verified(token, SECRET)["sub"] == "ada-sub"
    assert verified(ISSUER.token(), SECRET)
    assert "not accepted" in refusal(token)


# Attacks. Each makes a token from the issuer's own.


def _public_pem() -> bytes:
    return private_key("RS256").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _with_public_key_as_secret() -> str:
    """PyJWT does not sign with a public key, as an attacker would."""
    body = _renamed(ISSUER.token(), alg="HS256").rpartition(".")[0]
    return f"{body}.{encoded(hmac.digest(_public_pem(), body.encode(), 'sha256'))}"


def _now(seconds: float) -> int:
    return int(time.time() + seconds)


def _strange(**members: Any) -> dict[str, Any]:
    """A token of another's key, whose header offers that key."""
    return {"key": private_key("RS256", 1), "header": members}


ATTACKS: dict[str, tuple[Callable[[], str], str]] = {
    "alg none": (lambda: ISSUER.token(algorithm="none", header={"kid": "RS256-0"}, key="-"), "not accepted"),
    "alg None, in another case": (lambda: _renamed(ISSUER.token(), alg="None"), "not accepted"),
    "no alg": (lambda: _renamed(ISSUER.token(), alg=None), "form is wrong|not accepted"),
    "alg that is no text": (lambda: _renamed(ISSUER.token(), alg=["RS256"]), "form is wrong|not accepted"),
    "no signature": (lambda: ISSUER.token().rpartition(".")[0] + ".", "signature"),
    "another payload under the signature": (
        lambda: ".".join([*ISSUER.token().split(".")[:1], ISSUER.token("bob").split(".")[1], _signature()]),
        "signature",
    ),
    "the public key as the secret of HS256": (_with_public_key_as_secret, "not accepted"),
    "an algorithm of another strength": (
        lambda: ISSUER.token(algorithm="RS512", key=private_key("RS256"), header={"kid": "RS256-0"}),
        "not accepted",
    ),
    "an algorithm that is not the key's": (
        lambda: ISSUER.token(algorithm="ES256", header={"kid": "RS256-0"}),
        "no such key",
    ),
    "another's key": (lambda: ISSUER.token(**_strange()), "signature"),
    "kid that is a path": (lambda: ISSUER.token(header={"kid": "../../../../dev/null"}), "no such key"),
    "kid that is a query": (lambda: ISSUER.token(header={"kid": "' OR 1=1 --"}), "no such key"),
    "kid that is no text": (lambda: ISSUER.token(header={"kid": {"RS256-0": 1}}), "form is wrong"),
    "jku": (lambda: ISSUER.token(**_strange(jku="https://attacker.example/keys")), "signature"),
    "x5u": (lambda: ISSUER.token(**_strange(x5u="https://attacker.example/chain")), "signature"),
    "jwk": (lambda: ISSUER.token(**_strange(jwk=public_jwk(private_key("RS256", 1)))), "signature"),
    "critical extension": (lambda: ISSUER.token(header={"crit": ["exp"], "exp": 1}), "extension"),
    "critical extension that PyJWT knows": (lambda: ISSUER.token(header={"crit": ["b64"], "b64": True}), "extension"),
    "unencoded payload": (lambda: ISSUER.token(header={"b64": False}), "extension"),
    "type of another kind of token": (lambda: ISSUER.token(header={"typ": "logout+jwt"}), "another type"),
    "type that is no text": (lambda: ISSUER.token(header={"typ": 1}), "another type"),
    "expired": (lambda: ISSUER.token(exp=_now(-3600)), "expired"),
    "expired beyond the clocks' difference": (
        lambda: ISSUER.token(exp=_now(-CLOCK_SKEW_SECONDS - 2)),
        "expired",
    ),
    "no expiry": (lambda: ISSUER.token(exp=None), "lacks the claim exp"),
    "expiry that is a text": (lambda: ISSUER.token(exp="9999999999"), "not a time"),
    "expiry that is infinite": (lambda: ISSUER.token(exp=float("inf")), "form is wrong"),
    "expiry beyond every number": (lambda: _with_claim(b'"exp": 1e400'), "form is wrong"),
    "not before beyond every number": (lambda: _with_claim(b'"exp": 9999999999, "nbf": 1e400'), "form is wrong"),
    "not valid before": (lambda: ISSUER.token(nbf=_now(CLOCK_SKEW_SECONDS + 60)), "not valid yet"),
    "issued in the future": (lambda: ISSUER.token(iat=_now(CLOCK_SKEW_SECONDS + 60)), "not valid yet"),
    "not before that is true": (lambda: ISSUER.token(nbf=True), "not a time"),
    "another audience": (lambda: ISSUER.token(aud="another-service"), "another audience"),
    "no audience": (lambda: ISSUER.token(aud=None), "lacks the claim aud"),
    "audience that begins like ours": (lambda: ISSUER.token(aud=f"{AUDIENCE}-not"), "another audience"),
    "audiences that are no texts": (lambda: ISSUER.token(aud=[1, {"a": AUDIENCE}]), "audience"),
    "another issuer": (lambda: ISSUER.token(iss="https://attacker.example/auth/v1"), "another issuer"),
    "issuer with a suffix": (lambda: ISSUER.token(iss=f"{ISSUER.url}.attacker.example"), "another issuer"),
    "issuer that is a part of ours": (lambda: ISSUER.token(iss=ISSUER.url[:-1]), "another issuer"),
    "issuer with a slash more": (lambda: ISSUER.token(iss=f"{ISSUER.url}/"), "another issuer"),
    "issuers": (lambda: ISSUER.token(iss=[ISSUER.url]), "issuer|form is wrong"),
    "no issuer": (lambda: ISSUER.token(iss=None), "lacks the claim iss"),
    "no subject": (lambda: ISSUER.token(None), "lacks the claim sub"),
    "empty subject": (lambda: ISSUER.token(""), "user's id"),
    "subject that is no text": (lambda: ISSUER.token(sub=7), "form is wrong|user's id"),
    "subject with a line break": (lambda: ISSUER.token("ada\nuser bob"), "user's id"),
    "subject of 256 letters": (lambda: ISSUER.token("a" * 256), "user's id"),
    "payload that is a list": (lambda: signed({"alg": "RS256", "kid": "RS256-0"}, [], private_key("RS256")), "form"),
    "huge": (lambda: ISSUER.token(padding="x" * MAX_TOKEN_CHARACTERS), "characters"),
    "nested header": (lambda: f"{encoded(b'[' * 5000)}.e30.AA", "form is wrong"),
    "nested payload": (
        lambda: signed({"alg": "RS256", "kid": "RS256-0"}, b'{"a":' * 1000, private_key("RS256")),
        "form is wrong",
    ),
    "five parts, as if it were encrypted": (lambda: ISSUER.token() + ".AA.AA", "form is wrong"),
    "no parts": (lambda: "abc", "form is wrong"),
    "half a surrogate pair": (lambda: "\ud800.\ud800.\ud800", "form is wrong"),
    "letters outside ASCII": (lambda: ISSUER.token() + "é", "form is wrong|signature"),
}


def _renamed(token: str, **members: Any) -> str:
    """The token with other members of its header, under the same signature."""
    header = {"alg": "RS256", "typ": "JWT", "kid": "RS256-0"} | members
    named = {name: value for name, value in header.items() if value is not None}
    return ".".join([encoded(json.dumps(named).encode()), *token.split(".")[1:]])


def _with_claim(claim: bytes) -> str:
    """A token with a claim that Python's JSON would write otherwise."""
    rest = json.dumps({"iss": ISSUER.url, "aud": AUDIENCE, "sub": "ada-sub"}).encode()[1:]
    return signed({"alg": "RS256", "kid": "RS256-0"}, b"{" + claim + b", " + rest, private_key("RS256"))


def _signature() -> str:
    return ISSUER.token().split(".")[2]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(attack: str) -> None:
    make, reason = ATTACKS[attack]
    found = refusal(make())
    assert any(each in found for each in reason.split("|")), found


@pytest.mark.parametrize("attack", [name for name in ATTACKS if "HS256" in name or name.startswith("alg")])
def test_an_attack_is_refused_where_a_secret_is_set_too(attack: str) -> None:
    assert refusal(ATTACKS[attack][0](), SECRET)


def test_clocks_may_differ_a_little() -> None:
    assert verified(ISSUER.token(exp=_now(2 - CLOCK_SKEW_SECONDS)))
    assert verified(ISSUER.token(nbf=_now(CLOCK_SKEW_SECONDS - 2)))


@pytest.mark.slow
def test_a_token_that_was_valid_is_refused_once_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CLOCK_SKEW_SECONDS", 0)
    verifier = TokenVerifier(ISSUER.url, AUDIENCE, KnownKeys(ISSUER.keys))
    token = ISSUER.token(exp=_now(2))
    assert asyncio.run(verifier.verify(token)) == asyncio.run(verifier.verify(token))
    time.sleep(3)
    with pytest.raises(InvalidToken, match="expired"):
        asyncio.run(verifier.verify(token))


def test_a_token_that_was_valid_is_refused_once_its_key_is_withdrawn_or_replaced() -> None:
    keys = KnownKeys(ISSUER.keys)
    verifier = TokenVerifier(ISSUER.url, AUDIENCE, keys)
    token = ISSUER.token()
    assert asyncio.run(verifier.verify(token))
    for others in ([], [public_jwk(private_key("RS256", 1), kid="RS256-0")]):
        keys._keys = usable_keys(json.dumps({"keys": others}).encode())
        with pytest.raises(InvalidToken, match=r"no such key|signature"):
            asyncio.run(verifier.verify(token))
    keys._keys = usable_keys(json.dumps({"keys": ISSUER.keys}).encode())
    assert asyncio.run(verifier.verify(token))


def test_a_token_that_is_remembered_opens_nothing_for_others_like_it() -> None:
    verifier = TokenVerifier(ISSUER.url, AUDIENCE, KnownKeys(ISSUER.keys))
    token = ISSUER.token()
    assert asyncio.run(verifier.verify(token))
    for other in (token[:-4] + "AAAA", token + "?", _renamed(token, typ="at+jwt")):
        with pytest.raises(InvalidToken):
            asyncio.run(verifier.verify(other))


def test_few_tokens_are_remembered() -> None:
    verifier = TokenVerifier(ISSUER.url, AUDIENCE, KnownKeys(ISSUER.keys), remembered=3)
    for number in range(10):
        assert asyncio.run(verifier.verify(ISSUER.token(f"user-{number}")))
    assert len(verifier._verified) == 3


KEYS: dict[str, dict[str, Any]] = {
    "for encryption": {"use": "enc"},
    "for signing only": {"key_ops": ["sign"]},
    "with operations that are no list": {"key_ops": "verify"},
    "of another algorithm": {"alg": "RSA-OAEP"},
    "with a key id that is no text": {"kid": 7},
    "without its modulus": {"n": None},
    "of an unknown type": {"kty": "XYZ"},
    "of a type that is no text": {"kty": ["RSA"]},
}


@pytest.mark.parametrize("flaw", KEYS)
def test_keys_that_must_not_sign_are_left_out(flaw: str) -> None:
    jwk = public_jwk(private_key("RS256"), kid="RS256-0")
    assert verified(ISSUER.token(), keys=[jwk])
    flawed = {name: value for name, value in (jwk | KEYS[flaw]).items() if value is not None}
    assert "no such key" in refusal(ISSUER.token(header={"kid": None}), keys=[flawed])
    assert verified(ISSUER.token(), keys=[flawed, jwk])


def test_a_short_rsa_key_is_left_out() -> None:
    weak = private_key("RS256", 2, rsa_bits=1024)
    assert isinstance(weak, rsa.RSAPrivateKey)
    token = ISSUER.token(key=weak, header={"kid": "weak"})
    assert "no such key" in refusal(token, keys=[public_jwk(weak, kid="weak")])


def test_a_symmetric_key_of_the_key_set_signs_nothing() -> None:
    secret = encoded(SECRET.encode())
    token = ISSUER.token(algorithm="HS256", key=SECRET.encode(), header={"kid": "shared"})
    assert refusal(token, keys=[{"kty": "oct", "k": secret, "kid": "shared", "alg": "HS256"}])


def test_claims_are_found_by_name_and_by_path() -> None:
    claims = {"app_metadata": {"role": "admin"}, "https://twin.example/producers": ["ada"], "list": [1]}
    assert claim_of(claims, "app_metadata.role") == "admin"
    assert claim_of(claims, "https://twin.example/producers") == ["ada"]
    for name in ("app_metadata.none", "list.0", "none", "app_metadata.role.more"):
        assert claim_of(claims, name) is None
