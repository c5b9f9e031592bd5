"""`/`: the web chat, static files of the folder `web`, under a policy that allows nothing from elsewhere."""

import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

from integrations.errors import NotFound
from integrations.gateway.services import Wired
from integrations.gateway.sessions import enter

WEB = Path(__file__).parent / "web"
router = APIRouter()
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}
COMPRESSED_FROM_BYTES = 1024


class PageFile(FileResponse):
    """A file of the page, compressed where the browser takes it and it is large enough."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await GZipMiddleware(super().__call__, COMPRESSED_FROM_BYTES)(scope, receive, send)


@router.get("/", include_in_schema=False)
async def index(request: Request, services: Wired, key: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Show the page, which holds no secret; with a link's key, open a session first."""
    if key:
        return await enter(request, services, key)
    if not (WEB / "index.html").is_file():
        raise NotFound("The chat page is not installed: integrations/gateway/web/index.html is missing.")
    return PageFile(WEB / "index.html", headers=HEADERS)


def add_page(app: FastAPI) -> None:
    """Serve the page and every file of its folder at an address of its own: nothing else can be reached."""
    app.include_router(router)
    for path in sorted(WEB.rglob("*")):
        if path.is_file() and not path.name.startswith((".", "__")) and path.suffix not in {".py", ".md"}:
            app.add_route(f"/{path.relative_to(WEB).as_posix()}", _serve(path), ["GET"], include_in_schema=False)


def _serve(path: Path) -> Callable[[Request], Awaitable[Response]]:
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"

    async def serve(_: Request) -> Response:
        # Revalidated by its ETag each time, so that an upgrade is seen at once.
        return PageFile(path, media_type=media_type, headers=HEADERS)

    return serve
