"""Models as Ray Serve applications, asked through their handles from an event loop.

A handle has no deadline (`asking` keeps it), drops the trace context, and wraps errors: both are put right here.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, cast

from integrations.errors import Overloaded, RunbellError, Unavailable
from serving.failures import Lost, to_error
from serving.grpc_streams import streaming
from serving.schema import ChatChunk, ChatRequest, Failure

GATE = "openai"
"""The application that speaks HTTP; it also tells which models there are."""


class RayDoor:
    """Handles of the applications, kept. `apps` are the applications by the models' names.

    Everything but `app` belongs to one event loop, the first of the process that asks: what carries the requests runs
    there, too, and Ray keeps it for the process.
    """

    def __init__(self, apps: Mapping[str, str] | None = None) -> None:
        self.apps = apps or {}
        self._handles: dict[str, Any] = {}
        self._fetching = asyncio.Lock()

    async def open(
        self, model: str, request: ChatRequest, timeout_s: float, traceparent: str | None
    ) -> AsyncGenerator[ChatChunk | Failure]:
        """Yield what a replica says; closing it cancels the generation there."""
        app, ended = self.app(model), False
        try:
            handle = await self.handle(app, streamed=True)
            response = handle.stream.remote(request, timeout_s, traceparent)
        except Exception as error:
            raise self.translate(app, error) from error
        try:
            async for item in cast("AsyncIterator[ChatChunk | Failure]", response):
                ended = isinstance(item, Failure) or item.finish_reason is not None
                yield item
            ended = True
        except Exception as error:
            raise self.translate(app, error) from error
        finally:
            if not ended:
                response.cancel()

    def app(self, model: str) -> str:
        """Return the application of a model."""
        try:
            return self.apps[model]
        except KeyError as error:
            raise Lost(f"{model} is not served any more.") from error

    async def call(self, app: str, method: str, *arguments: object) -> object:
        """Return what a method of an application returns; cancelling it cancels it there."""
        response: Any = None
        try:
            response = getattr(await self.handle(app), method).remote(*arguments)
            result = await response
        except asyncio.CancelledError:
            if response is not None:
                response.cancel()
            raise
        except Exception as error:
            raise self.translate(app, error) from error
        if isinstance(result, Failure):
            raise to_error(result)
        return result

    async def handle(self, app: str, *, streamed: bool = False) -> Any:  # noqa: ANN401 - its methods are the deployment's
        """Return the handle of an application."""
        import ray
        from ray import serve

        if not ray.is_initialized():
            # Serve would start a cluster of its own.
            raise Unavailable("This process is not connected to Ray.")
        key = f"{app} (stream)" if streamed else app
        if (known := self._handles.get(key)) is not None:
            return known
        async with self._fetching:
            if (known := self._handles.get(key)) is None:
                handle = await asyncio.to_thread(serve.get_app_handle, app)  # it asks Serve's controller, and blocks
                known = self._handles[key] = streaming(handle) if streamed else handle
        return known

    def translate(self, app: str, error: Exception) -> RunbellError:
        """Return what went wrong as one of our errors."""
        if isinstance(error, RunbellError):
            return error
        from ray.serve.exceptions import BackPressureError

        if isinstance(error, BackPressureError):
            return Overloaded("Too many requests wait for the model.", after=2)
        # After a restart of Serve the old handle would never find the new replicas.
        self._handles.pop(app, None)
        self._handles.pop(f"{app} (stream)", None)
        first_line = str(error).partition("\n")[0][:200]
        name = next((model for model, its in self.apps.items() if its == app), app)
        return Lost(f"The model {name} can't be reached ({type(error).__name__}: {first_line}). See: runbell status")
