"""The page's way in: a one-time link that sets a session cookie, so that no token is ever typed or in a URL."""

import asyncio
import logging
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from integrations.errors import Unauthorized
from integrations.gateway.callers import Authenticated, Guarded
from integrations.gateway.schema import SessionLink
from integrations.gateway.services import Services, Wired
from integrations.security.tokens import LINK_SECONDS, SESSION_SECONDS

logger = logging.getLogger(__name__)
router = APIRouter(tags=["page"], route_class=Guarded)
COOKIE = "runbell_session"


@router.post("/v1/session-links", status_code=201)
async def link(services: Wired, caller: Authenticated) -> SessionLink:  # noqa: ARG001 - it demands a caller
    """Make a link that opens the page, once, within ten minutes."""
    key = await asyncio.to_thread(services.keys.new_link_key)
    url = f"{services.settings.gateway_url}/?{urlencode({'key': key})}"
    return SessionLink(url=url, expires_in_s=LINK_SECONDS)


async def enter(request: Request, services: Services, key: str) -> Response:
    """Use up a link: set the cookie, and go to the page; `page.py` calls it for `/?key=…`.

    A link that is used, old or unknown leads to the page too, which says that nobody is signed in and what to do.
    """
    services.limits.read(f"stranger:{request.client.host if request.client else ''}")
    response = RedirectResponse("/", 303)
    if not services.keys.is_session(request.cookies.get(COOKIE, "")):
        try:
            set_cookie(response, services, await asyncio.to_thread(services.keys.redeem_link, key))
        except Unauthorized as error:
            logger.info("sign-in link refused: %s", error)
    return response


def set_cookie(response: Response, services: Services, session: str) -> None:
    """Give the session to the browser, for our own pages only and out of their scripts' reach."""
    response.set_cookie(
        COOKIE,
        session,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=services.settings.gateway_url.startswith("https://"),
    )
