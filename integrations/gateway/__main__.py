"""`python -m integrations.gateway`: serve until SIGTERM or SIGINT, then finish what was begun."""

import signal
import sys
from types import FrameType

import uvicorn

from integrations.database import Database
from integrations.errors import Misconfigured
from integrations.gateway.app import create_app
from integrations.heap import settle
from integrations.security import secrets
from integrations.settings import Settings
from integrations.telemetry import setup

GRACE_SECONDS = 10
SOCKET_FRAME_BYTES = 1_048_576


def main() -> int:
    """Run the gateway; returns 2 where a setting forbids it, with the reason on stderr and in the log."""
    settings = Settings()
    setup("gateway", log_level=settings.telemetry.log_level, otlp_endpoint=settings.telemetry.otlp_endpoint)
    try:
        url = secrets.resolve(settings.database.url, name="database.url").get_secret_value()
        database = Database(
            url,
            files=settings.state / "files",
            pool_size=settings.database.pool_size,
            name="runbell-gateway",
            access=settings.access,
        )
        server = uvicorn.Server(configuration(settings, database))
    except Misconfigured as error:
        sys.stderr.write(f"The gateway does not start. {error}\n")
        return 2
    # uvicorn hears these itself, and raises them again when it has stopped: that is no reason to die of them.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _told_already)
    settle()
    try:
        server.run()
    finally:
        database.close()
    return 0 if server.started else 1


def configuration(settings: Settings, database: Database) -> uvicorn.Config:
    """Return how uvicorn serves the application."""
    return uvicorn.Config(
        create_app(settings, database),
        host=settings.gateway.host,
        port=settings.gateway.port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=SOCKET_FRAME_BYTES,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _told_already(_: int, __: FrameType | None) -> None:
    """Do nothing."""


if __name__ == "__main__":
    sys.exit(main())
