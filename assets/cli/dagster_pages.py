"""Dagster's own web app, behind the guard of all local pages and stricter about what it is asked.

Dagster takes a mutation by GET, and by POST with any content type whose text contains `application/json`: both can be
sent by a form, a picture or a link of another site. Here a query comes by POST as `application/json`, from this page.
Requests on which Dagster raises (a report of 100,000 brackets, a log outside of its folder) get a sentence.
"""

from __future__ import annotations

from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster_webserver.webserver import DagsterWebserver
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.websockets import WebSocket, WebSocketState

from assets.passes.postgres import why_away, why_it_failed
from pipeline.http_guard import App, Guard, media_type
from pipeline.http_json import read_object
from pipeline.serving import Address

MAX_BODY = 8 << 20
"""Largest body of a request in bytes: a launch sends its whole run config."""
# added to the policy that Dagster gives its own page, which names the scripts
_POLICY = "frame-ancestors 'none'; base-uri 'none'; object-src 'none'; form-action 'self'"


def dagster_pages(context: WorkspaceProcessContext, address: Address) -> App:
    """Return Dagster's web app on a workspace, behind the guard of an address."""
    app: App = _Webserver(context, live_data_poll_rate=2000).create_asgi_app()
    return Guard(app, host=address.host, token=address.token, policy=_POLICY, max_body=MAX_BODY)


class _Webserver(DagsterWebserver[WorkspaceProcessContext, WorkspaceRequestContext]):
    """Dagster's webserver, which refuses GraphQL in other forms than its own page sends."""

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Answer a query, or refuse it with a sentence."""
        if request.method == "GET" and not request.query_params and "text/html" in request.headers.get("accept", ""):
            return await super().graphql_http_endpoint(request)  # the page to write queries on
        if request.method != "POST":
            return PlainTextResponse("send GraphQL by POST", 405, {"allow": "POST"})
        if media_type(request.headers.get("content-type", "")) != "application/json":
            return PlainTextResponse("send GraphQL as application/json", 415)
        try:
            _check_query(await request.body())
        except ValueError as exc:
            return PlainTextResponse(str(exc), 400)
        try:
            answer = await super().graphql_http_endpoint(request)
            # Dagster wraps the error of a database that is away, and leaves the status
            if answer.status_code == 500 and (why := await run_in_threadpool(why_away)) is not None:
                return PlainTextResponse(why, 503)
            return answer
        except RecursionError:
            return PlainTextResponse("the query is nested too deeply", 400)
        except Exception as exc:
            if (why := why_it_failed(exc)) is None:
                raise
            return PlainTextResponse(why, 503)

    async def report_asset_materialization_endpoint(self, request: Request) -> JSONResponse:
        """Take in what a page of this machine reports, or refuse it with a sentence."""
        return await _refusal(request) or await super().report_asset_materialization_endpoint(request)

    async def report_asset_check_endpoint(self, request: Request) -> JSONResponse:
        """Take in what a page of this machine reports, or refuse it with a sentence."""
        return await _refusal(request) or await super().report_asset_check_endpoint(request)

    async def report_asset_observation_endpoint(self, request: Request) -> JSONResponse:
        """Take in what a page of this machine reports, or refuse it with a sentence."""
        return await _refusal(request) or await super().report_asset_observation_endpoint(request)

    async def download_debug_file_endpoint(self, request: Request) -> Response:
        """Send what is known of a run; 404 where there is no such run."""
        with self.request_context(request) as context:
            if not context.instance.has_run(request.path_params["run_id"]):
                return PlainTextResponse("there is no such run", 404)
        answer: Response = await super().download_debug_file_endpoint(request)
        return answer

    async def download_captured_logs_endpoint(self, request: Request) -> Response:
        """Send the output of a step; 404 where the path leads out of the folder of outputs."""
        try:
            answer: Response = await super().download_captured_logs_endpoint(request)
        except (ValueError, OSError):
            return PlainTextResponse("there is no such output", 404)
        return answer

    async def graphql_ws_endpoint(self, websocket: WebSocket) -> None:
        """Answer subscriptions until the page closes; a message of another form closes the websocket."""
        try:
            await super().graphql_ws_endpoint(websocket)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            if WebSocketState.DISCONNECTED not in {websocket.client_state, websocket.application_state}:
                await websocket.close(1007, "this message is not one of Dagster's page")


async def _refusal(request: Request) -> JSONResponse | None:
    """Return the refusal of a report whose body is there and is no object of JSON; None where it may be read."""
    body = await request.body()
    try:
        if body:
            read_object(body)
    except ValueError as exc:
        return JSONResponse({"error": str(exc)}, 400)
    return None


def _check_query(body: bytes) -> None:
    request = read_object(body)
    if not isinstance(request.get("query"), str):
        raise ValueError("query must be a text")
    if not isinstance(request.get("operationName"), str | None):
        raise ValueError("operationName must be a text")
    if not isinstance(request.get("variables"), dict | None):
        raise ValueError("variables must be an object")
