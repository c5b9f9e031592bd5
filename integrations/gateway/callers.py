"""Who calls: the bearer of the token, or the page's session cookie. Everything but health needs one of them."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers

from integrations.errors import Forbidden, Unauthorized
from integrations.gateway.problems import UnsupportedMediaType
from integrations.gateway.services import OWNER, Services, Wired
from integrations.messages import Principal
from integrations.settings import Settings

_BEARER = HTTPBearer(auto_error=False, description="The content of RUNBELL_HOME/token.")
_COOKIE = APIKeyCookie(name="runbell_session", auto_error=False, description="The page's session.")
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller; `account` is theirs on the channels rest, web and terminal."""

    principal: Principal
    account: str

    @property
    def is_admin(self) -> bool:
        """Whether they may see everything of their tenant."""
        return "admin" in self.principal.roles


def origins(settings: Settings) -> set[str]:
    """Return the origins that our own page may have."""
    found = {_origin(settings.gateway_url)}
    if settings.gateway.host in {"127.0.0.1", "localhost", "::1", "0.0.0.0"}:  # noqa: S104 - only compared
        found |= {f"http://{host}:{settings.gateway.port}" for host in ("127.0.0.1", "localhost", "[::1]")}
    return found


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def is_own_origin(services: Services, headers: Headers) -> bool:
    """Tell whether a browser sent this from our own page; other clients send no Origin."""
    origin = headers.get("origin")
    return origin is None or origin in origins(services.settings)


class Guarded(APIRoute):
    """A route that reads nothing of a request, its body least of all, before it is known who calls."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own handler behind the guard."""
        answer = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            await authenticate(request)
            _check_media_type(request)
            return await answer(request)

        return guarded


async def authenticate(request: Request) -> None:
    """Raise Unauthorized or Forbidden unless it is the owner who calls; RateLimited where they call too often."""
    services: Services = request.app.state.services
    _authenticate(request, services, await _BEARER(request), await _COOKIE(request))
    request.state.account = OWNER


def _check_media_type(request: Request) -> None:
    headers = request.headers
    has_body = headers.get("content-length", "").strip("0") != "" or "transfer-encoding" in headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and media_type != "application/json":
        raise UnsupportedMediaType("Send the body as application/json.")


async def _caller(
    request: Request,
    services: Wired,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    _session: Annotated[str | None, Security(_COOKIE)],
) -> Caller:
    """Return whom the guard let in; a route without `Guarded` lets nobody in."""
    account: str | None = getattr(request.state, "account", None)
    if account is None:
        raise Unauthorized("Nobody is known to call.")
    return Caller(await services.owner.get(), account)


def _authenticate(
    request: Request, services: Services, bearer: HTTPAuthorizationCredentials | None, session: str | None
) -> None:
    count = services.limits.read if request.method in SAFE_METHODS else services.limits.write
    if bearer is not None:
        if not services.keys.is_token(bearer.credentials):
            _count_stranger(request, services)
            raise Unauthorized("This bearer token is not the one in RUNBELL_HOME/token.")
    elif session is not None and services.keys.is_session(session):
        if request.method not in SAFE_METHODS and not is_own_origin(services, request.headers):
            raise Forbidden("A session may only be used from our own page.")
    else:
        _count_stranger(request, services)
        raise Unauthorized("Send the token of RUNBELL_HOME/token as `Authorization: Bearer …`.")
    count("caller:owner")


def _count_stranger(request: Request, services: Services) -> None:
    services.limits.read(f"stranger:{request.client.host if request.client else ''}")


Authenticated = Annotated[Caller, Depends(_caller)]
