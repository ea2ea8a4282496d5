"""A stand-in for a Supabase project's Auth server, after its documented REST API (supabase.com/docs/reference, GoTrue).

It has users with passwords, e-mails that are kept instead of sent, PKCE with S256, refresh tokens that rotate, with the
documented reuse of a token within ten seconds, and tokens signed as a project signs them. It is not Supabase itself:
only the paths that the web app uses are here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.issuer import Issuer, Json

ANON_KEY = "the anon key of the tests"
REUSE_SECONDS = 10
Answer = tuple[int, Any, dict[str, str]]


@dataclass
class User:
    id: str
    email: str
    password: str
    confirmed: bool = False

    def document(self) -> Json:
        return {
            "id": self.id,
            "aud": "authenticated",
            "role": "authenticated",
            "email": self.email,
            "app_metadata": {"provider": "email"},
            "user_metadata": {},
            "created_at": "2026-01-01T00:00:00Z",
        }


@dataclass
class Supabase:
    """The project.

    Attributes:
        url: the project's URL; that of its issuer ends in `/auth/v1`.
        issuer: signs the access tokens.
        lifetime: seconds that access tokens last.
        links: what the e-mails link to, the newest last.
        asked: the number of requests by path.
    """

    url: str
    issuer: Issuer
    lifetime: int = 3600
    users: dict[str, User] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    challenges: dict[str, tuple[User, str]] = field(default_factory=dict)  # by the token or the code of a link
    sessions: dict[str, tuple[User, float | None]] = field(default_factory=dict)  # by refresh token; when it was used

    def answer(self, method: str, target: str, headers: Any, body: Json) -> Answer:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = parts.path.removeprefix("/auth/v1")
        self.asked[f"{path} {query.get('grant_type', '')}".strip()] += 1
        if path == "/verify":
            return self._verify(query)
        if path.startswith("/.well-known/"):
            status, _, data = self.issuer.document(parts.path)
            return status, json.loads(data), {}
        if headers.get("apikey") != ANON_KEY:
            return 401, {"message": "No API key found in request"}, {}
        routes = {
            ("POST", "/token"): lambda: self._token(query.get("grant_type"), body),
            ("POST", "/signup"): lambda: self._sign_up(body, query),
            ("POST", "/recover"): lambda: self._recover(body, query),
            ("POST", "/logout"): lambda: self._log_out(headers),
            ("PUT", "/user"): lambda: self._change(headers, body),
            ("GET", "/user"): lambda: (200, self._of(headers).document(), {}),
        }
        route = routes.get((method, path))
        return route() if route else (404, {"code": 404, "msg": "no such path"}, {})

    def _token(self, kind: str | None, body: Json) -> Answer:
        if kind == "password":
            user = self.users.get(body["email"])
            if user is None or user.password != body["password"]:
                return _error(400, "invalid_credentials", "Invalid login credentials")
            if not user.confirmed:
                return _error(400, "email_not_confirmed", "Email not confirmed")
            return self._session(user)
        if kind == "pkce":
            user, challenge = self.challenges.pop(body["auth_code"], (None, ""))
            digest = hashlib.sha256(body["code_verifier"].encode()).digest()
            if user is None or base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge:
                return _error(400, "bad_code_verifier", "code challenge does not match previously saved code verifier")
            return self._session(user)
        user, used = self.sessions.get(body["refresh_token"], (None, None))
        if user is None or (used is not None and time.time() - used > REUSE_SECONDS):
            return _error(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        self.sessions[body["refresh_token"]] = user, used or time.time()
        return self._session(user)

    def _sign_up(self, body: Json, query: dict[str, str]) -> Answer:
        if len(body["password"]) < 6:
            return _error(422, "weak_password", "Password should be at least 6 characters.")
        user = self.users.setdefault(body["email"], User(secrets.token_hex(8), body["email"], body["password"]))
        self._send(user, "signup", body, query)
        return 200, user.document(), {}

    def _recover(self, body: Json, query: dict[str, str]) -> Answer:
        if user := self.users.get(body["email"]):
            self._send(user, "recovery", body, query)
        return 200, {}, {}

    def _send(self, user: User, kind: str, body: Json, query: dict[str, str]) -> None:
        token = f"pkce_{secrets.token_hex(8)}"
        assert body["code_challenge_method"] == "s256"
        self.challenges[token] = user, body["code_challenge"]
        to = {"token": token, "type": kind, "redirect_to": query["redirect_to"]}
        self.links.append(f"{self.url}/auth/v1/verify?{urlencode(to)}")

    def _verify(self, query: dict[str, str]) -> Answer:
        user, challenge = self.challenges.pop(query["token"])
        user.confirmed = True
        code = secrets.token_hex(8)
        self.challenges[code] = user, challenge
        separator = "&" if "?" in query["redirect_to"] else "?"
        return 303, {}, {"location": f"{query['redirect_to']}{separator}code={code}"}

    def _change(self, headers: Any, body: Json) -> Answer:
        user = self._of(headers)
        user.password = body["password"]
        return 200, user.document(), {}

    def _log_out(self, headers: Any) -> Answer:
        user = self._of(headers)
        self.sessions = {token: held for token, held in self.sessions.items() if held[0] is not user}
        return 204, None, {}

    def _session(self, user: User) -> Answer:
        refresh = secrets.token_hex(8)
        self.sessions[refresh] = user, None
        now = int(time.time())
        access = self.issuer.token(user.id, "ES256", email=user.email, iat=now, exp=now + self.lifetime)
        return (
            200,
            {
                "access_token": access,
                "token_type": "bearer",
                "expires_in": self.lifetime,
                "expires_at": now + self.lifetime,
                "refresh_token": refresh,
                "user": user.document(),
            },
            {},
        )

    def _of(self, headers: Any) -> User:
        payload = headers["authorization"].split(".")[1]
        subject = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
        return next(user for user in self.users.values() if user.id == subject)


def _error(status: int, code: str, message: str) -> Answer:
    return status, {"code": status, "error_code": code, "msg": message}, {}


@contextmanager
def served_supabase() -> Iterator[Supabase]:
    """A project whose Auth server is served on loopback inside the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size) or b"{}")
            status, answer, headers = project.answer(self.command, self.path, self.headers, body)
            data = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            headers = {"content-type": "application/json", "content-length": str(len(data)), **headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _answer

        def log_message(self, *_: Any) -> None:
            """The test's output has no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_address[1]}"
    project = Supabase(url, Issuer(f"{url}/auth/v1"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield project
    finally:
        server.shutdown()
        server.server_close()
