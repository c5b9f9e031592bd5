"""Problem details (RFC 9457) for everything that goes wrong over HTTP; never a stack trace, never an echo.

The table `KINDS` is the whole mapping from our errors to status codes.
"""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from integrations import errors
from integrations.complaints import in_words, named
from integrations.security.text import MAX_DEPTH

logger = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong with one field of the request."""

    field: str
    detail: str


class Problem(BaseModel):
    """What is wrong, and what to do next (RFC 9457)."""

    type: str = Field(description="A URN that stays the same for this kind of problem.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    request_id: str
    trace_id: str
    errors: list[FieldProblem] = Field(default_factory=list[FieldProblem])


class UnsupportedMediaType(errors.InvalidInput):
    """The body has a content type that this call does not read."""


class Malformed(errors.InvalidInput):
    """The body is not what its content type says."""


KINDS: tuple[tuple[type[Exception], int, str], ...] = (
    (UnsupportedMediaType, 415, "Wrong content type"),
    (Malformed, 400, "Malformed request"),
    (errors.InvalidInput, 422, "Invalid input"),
    (errors.Unauthorized, 401, "Not authenticated"),
    (errors.Forbidden, 403, "Not allowed"),
    (errors.NotFound, 404, "Not found"),
    (errors.Rejected, 422, "Rejected"),
    (errors.LeaseLost, 409, "Conflict"),
    (errors.RateLimited, 429, "Too many requests"),
    (errors.Overloaded, 503, "Too busy"),
    (errors.Unavailable, 503, "Not available now"),
    (errors.TemporaryError, 503, "Not available now"),
    (errors.Misconfigured, 503, "Not configured"),
)
DETAILS = {
    404: "There is nothing at this address; /openapi.json lists what there is.",
    405: "This address does not know this method; see the Allow header.",
}


def add_handlers(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    app.add_exception_handler(errors.RunbellError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


def problem(
    request: Request,
    status: int,
    detail: str,
    *,
    title: str | None = None,
    fields: list[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the response."""
    phrase = HTTPStatus(status).phrase
    body = Problem(
        type=f"urn:runbell:problem:{(title or phrase).lower().replace(' ', '-')}",
        title=title or phrase,
        status=status,
        detail=detail,
        instance=request.url.path[:500],
        request_id=request.scope.get("state", {}).get("request_id", ""),
        trace_id=request.scope.get("state", {}).get("trace_id", ""),
        errors=fields or [],
    )
    content = json.dumps(body.model_dump(), ensure_ascii=False).encode("utf-8", "replace")
    return Response(content, status, dict(headers or {}), MEDIA_TYPE)


def from_error(request: Request, error: errors.RunbellError) -> Response:
    """Answer one of our own errors."""
    status, title = next(
        (s, t) for kind, s, t in (*KINDS, (errors.RunbellError, 500, "Failed")) if isinstance(error, kind)
    )
    headers: dict[str, str] = {}
    if isinstance(error, errors.TemporaryError):
        headers["Retry-After"] = str(max(1, ceil(error.after)))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="runbell"'
    fields: list[FieldProblem] = []
    if isinstance(error, errors.InvalidInput) and error.field:
        fields.append(FieldProblem(field=error.field, detail=str(error)))
    return problem(request, status, str(error), title=title, fields=fields, headers=headers)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.RunbellError)
    return from_error(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    """Tell each field's fault, without the value that was sent."""
    assert isinstance(error, RequestValidationError)
    found: list[dict[str, Any]] = list(error.errors())
    if any(item["type"] == "json_invalid" for item in found):
        return problem(request, 400, "The body is not valid JSON.", title="Malformed request")
    fields = [
        FieldProblem(field=named(item, inside=1) or str(item["loc"][0]), detail=in_words(item)) for item in found[:20]
    ]
    detail = "; ".join(f"{field.field}: {field.detail}" for field in fields[:3])
    return problem(request, 422, detail, title="Invalid input", fields=fields)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST and error.__cause__ is not None:
        return problem(request, 400, _unread(error.__cause__), title="Malformed request")
    phrase = HTTPStatus(error.status_code).phrase
    detail = DETAILS.get(error.status_code) if error.detail == phrase else None
    return problem(request, error.status_code, detail or error.detail, headers=error.headers)


def _unread(cause: BaseException) -> str:
    """Say why a body could not be read; FastAPI keeps that as the cause of its 400."""
    match cause:
        case RecursionError():
            return f"The body is nested too deeply; values may be nested {MAX_DEPTH} deep at most."
        case UnicodeDecodeError():
            return "The body is not UTF-8; JSON is."
        case _:
            return "The body is JSON with a value that can't be read, such as a number of thousands of digits."


async def _unknown(request: Request, error: Exception) -> Response:
    """Answer what nobody foresaw; the log has the rest under the same request id."""
    state = request.scope.get("state", {})
    logger.error("unexpected error", exc_info=error, extra={"request_id": state.get("request_id")})
    return problem(request, 500, "Something failed here that nobody foresaw; the log has it under this request id.")
