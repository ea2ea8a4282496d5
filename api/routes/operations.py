"""Routes for operators: the status page, metrics, probes; and the OpenAPI document with BentoML's page of it."""

from __future__ import annotations

from starlette.responses import HTMLResponse, JSONResponse, Response

from api.capacity.thread_pools import to_record_thread
from api.routes.handler import Front, Inputs
from api.routes.route import ADMIN, ANY_SCOPE, Route
from core import metrics


async def status(front: Front, inputs: Inputs[None]) -> Response:
    # The template escapes clients' texts. If one got through, this policy still forbids scripts and requests.
    headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(await front.overview.page(front), headers=headers)


async def prometheus(front: Front, inputs: Inputs[None]) -> Response:
    text = await to_record_thread(metrics.text) + await front.overview.metrics(front)
    return Response(text, media_type=metrics.MEDIA_TYPE)


async def openapi(front: Front, inputs: Inputs[None]) -> Response:
    from api.openapi.document import document  # it imports the route table, which imports this module

    return JSONResponse(document())


def _probe(path: str, summary: str, documented: bool = True) -> Route:
    """A probe that BentoML answers, without an API key."""
    return Route("GET", path, "operators", summary, None, files=("text/plain",), quiet=True, documented=documented)


ROUTES = (
    Route(
        "GET",
        "/status",
        "operators",
        "The state of the service, as a page",
        ANY_SCOPE,
        status,
        files=("text/html",),
        challenge='Basic realm="producer twin"',  # browsers then ask for the key
    ),
    Route("GET", "/metrics", "operators", "Prometheus metrics", ADMIN, prometheus, files=("text/plain",), quiet=True),
    _probe("/livez", "200 while the process lives"),
    _probe("/readyz", "200 when the default backend can serve; another suffices where the default one cannot"),
    _probe("/healthz", "The same as /livez", documented=False),
    Route("GET", "/docs.json", "operators", "The OpenAPI document", ANY_SCOPE, openapi, documented=False),
    Route("GET", "/schema.json", "operators", "BentoML's own description", ANY_SCOPE, documented=False),
    Route("GET", "/", "operators", "The OpenAPI document as a page", ANY_SCOPE, documented=False),
    Route(
        "GET", "/static_content/{path}", "operators", "What that page needs", ANY_SCOPE, stream=True, documented=False
    ),
)
