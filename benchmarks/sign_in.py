"""What it costs to verify a token, with the issuer's keys and the user's producers in memory.

    python -m benchmarks.sign_in [--rounds 50]

CPU time in one thread: the verification alone, and the whole of `Access` beside the same request with an API key.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.types import Message

from api.auth import keys
from api.auth.access import Access
from api.auth.keys import KeyRing
from api.auth.sign_in import SignIn
from api.auth.tokens import TokenVerifier
from api.capacity.request_limits import RequestLimits
from benchmarks.measure import Figure, median
from core.settings import Settings
from storage import open_storage
from storage.producers import Owner, Producers
from tests.asgi import Served, scope
from tests.issuer import AUDIENCE, Issuer, served_issuer

TARGET = "≤ 0.3"
CALLS = 100  # in a round
SECRET = "a secret of an older project, long enough"  # nosec B105


async def measure(issuer: Issuer, folder: Path, rounds: int) -> list[Figure]:
    storage = open_storage(folder.as_uri())
    settings = Settings(
        auth_issuer=issuer.url, auth_audience=AUDIENCE, auth_jwt_secret=SECRET, key_requests_per_minute=10**9
    )
    Producers(storage).claim("ada", Owner(issuer.url, "ada-sub"))
    key = keys.create(storage, "benchmark", ["generate"])
    sign_in, ring = SignIn(storage, settings), KeyRing(storage)
    app = Access(Served(), settings, lambda: ring, RequestLimits(settings), sign_in=lambda: sign_in)
    claims: dict[str, Any] = {"email": "ada@example.com", "app_metadata": {"provider": "email"}, "session_id": "0" * 36}
    tokens = {name: issuer.token(algorithm=name, **claims) for name in ("RS256", "ES256", "EdDSA")}
    tokens["HS256"] = issuer.token(algorithm="HS256", key=SECRET.encode(), **claims)
    anew = TokenVerifier(issuer.url, AUDIENCE, sign_in.verifier.keys, SECRET, remembered=0)
    figures = []
    for name, token in tokens.items():
        figures.append(await _timed(f"verifying a new token, {name}, ms", partial(anew.verify, token), rounds))
    for name, token in tokens.items():
        figures.append(await _timed(f"verifying it again, {name}, ms", partial(sign_in.verifier.verify, token), rounds))
    for name, token in (tokens | {"an API key": key}).items():
        figures.append(await _timed(f"a request's access, {name}, ms", partial(_ask, app, token), rounds))
    return figures


async def _timed(name: str, call: Callable[[], Awaitable[object]], rounds: int) -> Figure:
    await call()  # fetches the keys
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(CALLS):
            await call()
        taken.append((time.process_time() - start) / CALLS * 1000)
    found = median(taken)
    return Figure(name, TARGET, found.median, found.low, found.high)


async def _ask(app: Access, token: str) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        assert message.get("status", 200) == 200

    await app(scope(authorization=f"Bearer {token}"), receive, send)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    with served_issuer() as issuer, tempfile.TemporaryDirectory() as folder:
        for figure in asyncio.run(measure(issuer, Path(folder), options.rounds)):
            print(figure)


if __name__ == "__main__":
    main()
