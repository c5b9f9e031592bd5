"""`/v1/files/{sha}`: files that messages show, for those who may see the conversation."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse

from integrations.errors import NotFound
from integrations.gateway.callers import Authenticated, Caller, Guarded
from integrations.gateway.services import Services, Wired
from integrations.messages import Address, Attachment

router = APIRouter(tags=["messages"], route_class=Guarded)
SHOWN_INLINE = {"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain", "application/pdf"}
Sha = Annotated[str, Path(description="SHA-256 of the file, in hex.", pattern="^[0-9a-f]{64}$")]


@router.get("/v1/files/{sha}", response_class=FileResponse)
async def read(sha: Sha, services: Wired, caller: Authenticated) -> FileResponse:
    """Return a file; what could run in a browser is only ever downloaded."""
    shown = await asyncio.to_thread(_find, services, caller, sha)
    path = await asyncio.to_thread(services.database.files.path, sha)
    inline = shown.media_type in SHOWN_INLINE
    return FileResponse(
        path,
        media_type=shown.media_type if inline else "application/octet-stream",
        filename=shown.name,
        content_disposition_type="inline" if inline else "attachment",
        headers={"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, max-age=86400"},
    )


def _find(services: Services, caller: Caller, sha: str) -> Attachment:
    for address, attachment in services.figures.holders(caller.principal.tenant, sha):
        if _may_see(services, caller, address):
            return attachment
    raise NotFound("There is no such file.")


def _may_see(services: Services, caller: Caller, address: Address) -> bool:
    owner = services.database.transcript.owner(address)
    return caller.is_admin or (owner is not None and owner[1] == caller.principal.id)
