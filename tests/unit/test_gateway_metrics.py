"""Who may read the figures: everybody on this machine, or who has the token."""

from pathlib import Path

import httpx
import pytest

from integrations.database import Database
from integrations.gateway.app import create_app
from integrations.security.tokens import create_token, read_token
from integrations.settings import Settings


async def metrics(home: Path, token: str = "", **gateway: object) -> int:
    create_token(home)
    settings = Settings.model_validate({"home": home, "gateway": gateway})
    # Nothing is asked of the database before somebody may read it; then it is told to be away.
    database = Database("postgresql+psycopg://127.0.0.1:9/none", files=home / "files")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(create_app(settings, database))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        status = (await client.get("/metrics")).status_code
    database.close()
    return status


async def test_figures_are_open_on_loopback(tmp_path: Path) -> None:
    assert await metrics(tmp_path) == 200


@pytest.mark.parametrize("where", [{"host": "0.0.0.0"}, {"public_url": "https://bell.example"}])
async def test_figures_want_the_token_where_others_reach_the_gateway(tmp_path: Path, where: dict[str, str]) -> None:
    assert await metrics(tmp_path, **where) == 401


async def test_figures_are_told_to_who_has_the_token(tmp_path: Path) -> None:
    create_token(tmp_path)

    assert await metrics(tmp_path, read_token(tmp_path), host="0.0.0.0") == 200
