"""The Ray Serve application `openai`: OpenAI-compatible HTTP in front of the models, behind the installation's token.

`/v1/chat/completions`, `/v1/embeddings`, `/v1/models`. Ops don't come this way; they use `client.ServeModels`.
"""

import asyncio
import hmac
import json
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integrations.errors import NotFound, RunbellError, Unavailable
from serving import openai_api
from serving.accounts import Opening, counted, counted_embeddings
from serving.asking import ask
from serving.config import SERVE_LOGS, Config
from serving.fleet import DEFAULT, EMBED, Fleet, ModelSpec, Table
from serving.openai_requests import Completion, Embeddings
from serving.ray_door import RayDoor
from serving.router import Router
from serving.schema import ChatChunk, ChatRequest, Embedding, Origin

MAX_BODY_BYTES = 1_048_576
STATUS_S = 5.0


class Gate:
    """ASGI middleware: nobody without the token, no body over the bound. Without a token file nobody at all."""

    def __init__(self, app: ASGIApp, token_file: Path) -> None:
        self._app = app
        self._token_file = token_file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        if not self._admits(headers.get("authorization", "")):
            refusal = _refusal(401, "A valid token is needed: Authorization: Bearer (RUNBELL_HOME/token).")
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return await refusal(scope, receive, send)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return await _refusal(413, f"A body may have {MAX_BODY_BYTES} bytes.")(scope, receive, send)
        return await self._app(scope, _Bounded(receive), send)

    def _admits(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        try:
            token = self._token_file.read_text(encoding="utf-8").strip()  # read anew: it may be rotated
        except OSError:
            return False
        same = hmac.compare_digest(given.strip().encode(), token.encode())
        return bool(token) and scheme.lower() == "bearer" and same


class _Bounded:
    """A `receive` that counts, for bodies sent without their length."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY_BYTES:
            raise HTTPException(413, f"A body may have {MAX_BODY_BYTES} bytes.")
        return message


class Models:
    """The models, asked from this application's event loop; `renew` brings the table of another models.yaml."""

    def __init__(self, table: Table, timeout_s: float, open_accounts: Opening | None = None) -> None:
        self.table = table
        self._router = Router(table.fleet)
        self._door = RayDoor(table.apps)
        self._timeout_s = timeout_s
        self._accounts = open_accounts(lambda: self.fleet) if open_accounts else None

    @property
    def fleet(self) -> Fleet:
        """Which models there are."""
        return self._router.fleet

    def renew(self, table: Table) -> None:
        """Go by another table of models."""
        self.table = table
        self._router.renew(table.fleet)
        self._door.apps = table.apps

    def stream(self, request: ChatRequest, traceparent: str | None) -> AsyncGenerator[ChatChunk]:
        """Yield the answer; leaving cancels it in the replica."""

        def begin(request: ChatRequest) -> AsyncGenerator[ChatChunk]:
            return ask(self._router, self._door, request, self._timeout_s, traceparent)

        return counted(self._accounts, request, self._timeout_s, begin) if self._accounts else begin(request)

    async def embed(self, texts: list[str], traceparent: str | None) -> list[Embedding]:
        """Return one embedding per text."""

        async def ask() -> list[Embedding]:
            app = self._door.app(self.fleet.embedder)
            return cast("list[Embedding]", await self._door.call(app, "embed", texts, self._timeout_s, traceparent))

        if self._accounts is None:
            return await ask()
        return await counted_embeddings(self._accounts, texts, self._timeout_s, ask)

    async def status(self) -> list[dict[str, Any]]:
        """Return how each model is doing; the load is that of one of its replicas."""
        from ray import serve

        states = (await asyncio.to_thread(serve.status)).applications
        found: list[dict[str, Any]] = []
        for name, spec in self.fleet.models.items():
            app = states.get(self.table.apps[name])
            replicas = [one.replica_states for one in app.deployments.values()] if app else []
            about: dict[str, Any] = {"name": name, "engine": spec.engine, "state": app.status.value if app else "GONE"}
            about["replicas"] = sum(int(many) for one in replicas for state, many in one.items() if state == "RUNNING")
            found.append(about | await self._doing(name, spec))
        return found

    async def _doing(self, name: str, spec: ModelSpec) -> dict[str, Any]:
        if spec.embeds:
            return {}
        try:
            async with asyncio.timeout(STATUS_S):
                await self._door.call(self._door.app(name), "describe")
                return {"load": await self._door.call(self._door.app(name), "load")}
        except RunbellError as error:
            return {"problem": str(error)}
        except TimeoutError:
            return {"problem": f"silent for {STATUS_S:g} s"}

    async def describe(self) -> None:
        """Raise what is wrong with the model that answers where nothing else is asked for."""
        _, route = self._router.route_of(None)
        await self._door.call(self._door.app(route.candidates[0]), "describe")

    def names(self) -> list[str]:
        """Return what may be asked for: chat models, routes, the embedder."""
        return [*self._router.names(), self.fleet.embedder]

    def check(self, asked: str, *, embeds: bool) -> None:
        """Raise `NotFound` where there is no such model or route."""
        if not embeds:
            self._router.route_of(asked)
        elif asked not in {DEFAULT, EMBED, self.fleet.embedder}:
            raise NotFound(f"There is no embedder {asked!r} here; there is {self.fleet.embedder!r}.")


def build(config: Config, models: Models) -> ASGIApp:
    """Return the ASGI application."""
    app = FastAPI(title="Runbell models", openapi_url=None, docs_url=None, redoc_url=None)
    app.add_exception_handler(RunbellError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)

    @app.post("/v1/chat/completions")
    async def complete(body: Completion, request: Request) -> Response:
        models.check(body.model, embeds=False)
        # Who asks is who has the installation's token: nobody chooses a tenant here.
        origin = Origin(tenant=config.tenant)
        chunks = models.stream(body.plain(origin), request.headers.get("traceparent"))
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body.model}
        if not body.stream:
            async with aclosing(chunks):
                return JSONResponse(openai_api.answer_json(head, [chunk async for chunk in chunks]))
        first = await anext(chunks)  # what fails before the first token still has its own status
        usage = body.stream_options is not None and body.stream_options.include_usage
        return StreamingResponse(_events(head, first, chunks, usage=usage), media_type="text/event-stream")

    @app.post("/v1/embeddings")
    async def embed(body: Embeddings, request: Request) -> Response:
        models.check(body.model, embeds=True)
        embeddings = await models.embed(body.texts(), request.headers.get("traceparent"))
        return JSONResponse(openai_api.embeddings_json(body.model, embeddings, body.encoding_format))

    @app.get("/v1/models")
    async def list_models() -> Response:
        await models.describe()
        return JSONResponse({"object": "list", "data": [openai_api.model_json(name) for name in models.names()]})

    @app.get("/v1/models/{name:path}")
    async def show_model(name: str) -> Response:
        if name not in models.names():
            raise NotFound(f"There is no model or route {name!r}; there is: {', '.join(models.names())}.")
        return JSONResponse(openai_api.model_json(name))

    @app.get("/v1/status")
    async def status() -> Response:
        return JSONResponse({"models": await models.status()})

    return Gate(app, config.state / "token")


class OpenAI:
    """The deployment: HTTP, and by handle the table of models, which may change without a restart."""

    def __init__(self, config: Config, table: Table, open_accounts: Opening | None = None) -> None:
        self._config = config
        self._models = Models(table, config.serving.request_timeout_s, open_accounts)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return build(self._config, self._models)

    def reconfigure(self, table: dict[str, Any]) -> None:
        """Take another table."""
        self._models.renew(Table.model_validate(table))

    def table(self) -> Table:
        """Return the table."""
        return self._models.table


def application(config: Config, table: Table, open_accounts: Opening | None = None) -> Any:  # noqa: ANN401 - Ray has no public type for it
    """Return the Ray Serve application."""
    from ray import serve

    serving = config.serving.model_copy(update={"api_key": None})
    config = config.model_copy(update={"serving": serving})  # this replica needs no key of an endpoint
    ingress: Any = serve.ingress()
    deployment: Any = serve.deployment(ingress(OpenAI), name="OpenAI")
    options = {"max_ongoing_requests": 256, "max_queued_requests": 256}
    return deployment.options(
        ray_actor_options={"num_cpus": 0},
        logging_config=SERVE_LOGS,
        user_config=table.model_dump(mode="json"),
        **options,
    ).bind(config, table, open_accounts)


async def _events(
    head: dict[str, Any], first: ChatChunk, chunks: AsyncGenerator[ChatChunk], *, usage: bool
) -> AsyncGenerator[str]:
    async with aclosing(chunks):
        try:
            yield _event(openai_api.chunk_json(head, first, first=True))
            last = first
            async for last in chunks:
                yield _event(openai_api.chunk_json(head, last))
            if usage and last.usage is not None:
                counts = {"choices": [], "usage": openai_api.usage_json(last.usage)}
                yield _event({**head, "object": "chat.completion.chunk", **counts})
            yield "data: [DONE]\n\n"
        except RunbellError as error:
            yield _event(openai_api.error_json(error))


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


async def _on_error(_: Request, error: Exception) -> Response:
    known = error if isinstance(error, RunbellError) else Unavailable("internal error")
    return JSONResponse(
        openai_api.error_json(known), openai_api.status_of(known), headers=openai_api.retry_after(known)
    )


async def _on_invalid(_: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return JSONResponse(openai_api.error_json(openai_api.complaint(found)), 400)


async def _on_http(_: Request, error: Exception) -> Response:
    known = error if isinstance(error, HTTPException) else HTTPException(500)
    return _refusal(known.status_code, str(known.detail))


def _refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse(
        {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}, status
    )
