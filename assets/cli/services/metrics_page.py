"""What the metrics service answers: `/metrics`, `/live` and `/ready`, behind the guard of all pages.

`/live` says that the process answers. `/ready` asks every part of the deployment, and has status 503 where one does not
work: its JSON says which, and why.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from assets.cli.services.health import ask_all
from assets.cli.services.metrics import registry_of
from assets.cli.services.places import Parts
from assets.graph.resources import Lampworks
from pipeline.http_guard import App, Guard
from pipeline.serving import Address


def metrics_page(parts: Parts, address: Address) -> App:
    """Return the app of the metrics service, behind the guard of an address."""
    registry = registry_of(Lampworks().settings)

    async def metrics(request: Request) -> Response:
        return Response(await run_in_threadpool(generate_latest, registry), media_type=CONTENT_TYPE_LATEST)

    async def live(request: Request) -> Response:
        return PlainTextResponse("live\n")

    async def ready(request: Request) -> Response:
        answers = await run_in_threadpool(ask_all, parts)
        is_ready = not any(answers.values())
        shown = {name: why or "ok" for name, why in answers.items()}
        return JSONResponse({"ready": is_ready, "parts": shown}, 200 if is_ready else 503)

    routes = [Route("/metrics", metrics), Route("/live", live), Route("/ready", ready)]
    return Guard(Starlette(routes=routes), host=address.host, token=address.token)
