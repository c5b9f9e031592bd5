"""`/channels/{channel}/…`: where networks call us. Plain Starlette routes, since this is the hottest path."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from integrations.channels import Answer, Call, Hook, Hooked
from integrations.errors import RateLimited, RunbellError, Unauthorized
from integrations.gateway.problems import Problem, from_error
from integrations.gateway.services import Services


def add_hooks(app: FastAPI, services: Services) -> None:
    """Add the addresses that each channel wants to be called at, and describe them in the OpenAPI document."""
    described: dict[str, Any] = {}
    for name, channel in services.channels.items():
        if not isinstance(channel, Hooked):
            continue
        for hook in channel.hooks:
            path = f"/channels/{name}{hook.path}"
            app.add_route(path, _endpoint(services, channel, hook), list(hook.methods), include_in_schema=False)
            described[path] = {method.lower(): _operation(hook) for method in hook.methods}
    _describe(app, described)


def _endpoint(services: Services, channel: Hooked, hook: Hook) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        # `request.headers` looks each name up in the whole list.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}
        headers["traceparent"] = request.scope["state"]["traceparent"]
        body = await request.body()
        call = Call(request.path_params, request.query_params, headers, body, request.method, hook.path)
        try:
            answer = await channel.accept(call, services.arrivals.receive)
        except RunbellError as error:
            return _refuse(request, services, error)
        return _respond(answer)

    return endpoint


def _respond(answer: Answer) -> Response:
    if answer.content is None:
        return Response(status_code=answer.status, headers=answer.headers)
    content = answer.content if isinstance(answer.content, str) else json.dumps(answer.content)
    return Response(content, answer.status, answer.headers, answer.media_type)


def _refuse(request: Request, services: Services, error: RunbellError) -> Response:
    """Answer the error; strangers who keep failing are slowed down."""
    if isinstance(error, Unauthorized):
        try:
            services.limits.read(f"stranger:{request.client.host if request.client else ''}")
        except RateLimited as slow:
            return from_error(request, slow)
    return from_error(request, error)


def _operation(hook: Hook) -> dict[str, Any]:
    names = [part[1:-1].partition(":")[0] for part in hook.path.split("/") if part.startswith("{")]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    parameters += [
        {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in hook.parameters.items()
    ]
    operation: dict[str, Any] = {
        "tags": ["channels"],
        "summary": hook.summary,
        "parameters": parameters,
        "responses": {
            "202": {"description": "Stored", "content": {"application/json": {"schema": {"type": "object"}}}},
            "default": {
                "description": "A problem (RFC 9457)",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if hook.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": hook.body}}}
    return operation


def _describe(app: FastAPI, described: dict[str, Any]) -> None:
    """Add operations, and the problem's schema, to what FastAPI describes by itself."""
    own = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = own()
            schema["paths"].update(described)
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(problem.pop("$defs"))
            schemas["Problem"] = problem
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi
