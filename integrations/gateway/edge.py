"""The outermost layer: ids for every request, size limits, safe headers, counting. Plain ASGI, since it is hot."""

import logging
import random
import re
import time

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integrations.errors import InvalidInput
from integrations.gateway import problems
from integrations.gateway.metrics import REQUEST_SECONDS, REQUESTS
from integrations.telemetry import new_traceparent, trace_id_of

logger = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
SLOW_SECONDS = 330.0
SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}
_SAFE = [(name.encode(), value.encode()) for name, value in SAFE_HEADERS.items()]


class Edge:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state = _identify(scope, headers)
        started_at = time.perf_counter()
        status = 500

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                raw: list[tuple[bytes, bytes]] = message.setdefault("headers", [])
                raw += [(b"x-request-id", state["request_id"].encode()), *_SAFE]
                if not any(name == b"cache-control" for name, _ in raw):
                    raw.append((b"cache-control", b"no-store"))
            await send(message)

        try:
            if refusal := self._refusal(headers):
                response = problems.problem(Request(scope), *refusal, headers={"Connection": "close"})
                await response(scope, receive, send_marked)
            else:
                await self._app(scope, _bounded(receive, self._max_body_bytes), send_marked)
        finally:
            seconds = time.perf_counter() - started_at
            _count(scope, status, seconds, state["request_id"])

    def _refusal(self, headers: Headers) -> tuple[int, str] | None:
        """Return status and reason for a body that need not be read to be refused."""
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._max_body_bytes:
            return 413, _too_large(self._max_body_bytes)
        return None


def _too_large(limit: int) -> str:
    return f"The body may have {limit} bytes at most."


def _bounded(receive: Receive, limit: int) -> Receive:
    """Count a body that comes in pieces, whose length nobody has told."""
    total = 0

    async def receive_counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return receive_counted


def _identify(scope: Scope, headers: Headers) -> dict[str, str]:
    """Give the request an id and a trace, the caller's own where they are well-formed."""
    offered = headers.get("x-request-id", "")
    traceparent = headers.get("traceparent", "")
    try:
        trace_id = trace_id_of(traceparent)
    except InvalidInput:
        traceparent = new_traceparent()
        trace_id = trace_id_of(traceparent)
    state: dict[str, str] = scope.setdefault("state", {})
    made = f"{random.getrandbits(64):016x}"
    state["request_id"] = offered if _REQUEST_ID.fullmatch(offered) else made
    state["traceparent"], state["trace_id"] = traceparent, trace_id
    return state


def _count(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    route = getattr(scope.get("route"), "path", "unknown")
    REQUESTS.labels(route, scope["method"] if route != "unknown" else "any", str(status)).inc()
    REQUEST_SECONDS.labels(route).observe(seconds)
    if (status >= 500 and route != "/readyz") or seconds > SLOW_SECONDS:
        logger.warning(
            "request failed or took long",
            extra={"request_id": request_id, "route": route, "status": status, "seconds": round(seconds, 3)},
        )
