"""Sends a message to a receiver: to public addresses only, redirects included, within a deadline."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpcore
import httpx

from core.errors import Refusal
from preprocessing.fetch import parse_url
from preprocessing.public_network import AddressCheck, DeadlineExceeded, NotPublic, PublicBackend, is_public

# Receivers should answer before they work.
SECONDS = 15.0
MAX_REDIRECTS = 3
_PRIVATE = "its address is not public"
# The receiver wants no more messages.
_GONE = 410


@dataclass(frozen=True)
class Outcome:
    """The outcome of a try.

    Attributes:
        status: that was answered; None without an answer.
        error: why the message was not received; None if it was.
        is_final: whether further tries are in vain.
    """

    status: int | None = None
    error: str | None = None
    is_final: bool = False


def send(url: str, headers: Mapping[str, str], body: bytes, is_allowed: AddressCheck = is_public) -> Outcome:
    """POST the message, and follow redirects that keep the method (307, 308).

    Args:
        is_allowed: which addresses may be connected to.
    """
    backend = PublicBackend(is_allowed, time.monotonic() + SECONDS)
    try:
        # httpx's choice of certificates: the operator may name another bundle in the environment.
        with httpcore.ConnectionPool(ssl_context=httpx.create_ssl_context(), network_backend=backend) as pool:
            target = parse_url(url, "webhook_url")
            for _ in range(MAX_REDIRECTS + 1):
                if target.scheme != "https":
                    return Outcome(error="it redirects to something else than https", is_final=True)
                status, location = _post(pool, target, headers, body)
                if status not in (307, 308) or location is None:
                    return _outcome(status)
                target = parse_url(str(target.join(location)), "webhook_url")
        return Outcome(status, f"more than {MAX_REDIRECTS} redirects")
    except NotPublic:
        return Outcome(error=_PRIVATE, is_final=True)
    except (Refusal, httpx.InvalidURL):
        return Outcome(error="it redirects to something that is not a URL", is_final=True)
    except (DeadlineExceeded, httpcore.TimeoutException):
        return Outcome(error=f"no answer within {SECONDS:g} s")
    except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError):
        return Outcome(error="it cannot be reached, or the connection broke")


def _post(
    pool: httpcore.ConnectionPool, url: httpx.URL, headers: Mapping[str, str], body: bytes
) -> tuple[int, str | None]:
    """The status of the answer, whose body is not read, and its `Location`."""
    address = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    sent: dict[bytes | str, bytes | str] = {
        "host": url.netloc,
        "content-type": "application/json",
        "content-length": str(len(body)),
        "user-agent": "producer-twin",
    }
    sent.update(headers)
    timeouts = {"connect": SECONDS, "read": SECONDS, "write": SECONDS, "pool": SECONDS}
    with pool.stream("POST", address, headers=sent, content=body, extensions={"timeout": timeouts}) as answer:
        found = [value.decode("latin-1") for name, value in answer.headers if name.lower() == b"location"]
        return answer.status, found[0] if found else None


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status)
    if 300 <= status < 400:
        return Outcome(status, f"it answered {status}, a redirect that would not keep the message")
    return Outcome(status, f"it answered {status}", is_final=status == _GONE)
