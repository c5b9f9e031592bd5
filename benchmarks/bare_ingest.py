"""The baseline of `ingest.py`: a bare FastAPI that inserts one row per request and acknowledges."""

import os
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

URL = os.environ.get("BARE_URL", "")
pool = AsyncConnectionPool(URL, min_size=16, max_size=16, open=False)


class Message(BaseModel):
    text: str
    conversation: str
    event_id: str


@asynccontextmanager
async def live(_: FastAPI) -> AsyncGenerator[None]:
    await pool.open()
    async with pool.connection() as connection:
        await connection.execute(
            "create table if not exists bare_messages (id uuid primary key, event_id text unique, body jsonb,"
            " accepted_at timestamptz default now())"
        )
    yield
    await pool.close()


app = FastAPI(lifespan=live, telemetry={"tracing": False, "metrics": False, "logs": False})


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "alive"}


@app.post("/messages", status_code=202)
async def receive(message: Message) -> dict[str, str]:
    message_id = uuid.uuid4()
    async with pool.connection() as connection:
        await connection.execute(
            "insert into bare_messages (id, event_id, body) values (%s, %s, %s) on conflict do nothing",
            (message_id, message.event_id, Jsonb(message.model_dump())),
        )
    return {"message_id": str(message_id)}


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["BARE_PORT"]), loop="uvloop", http="httptools",
        log_config=None, access_log=False, server_header=False, proxy_headers=False,
    )  # fmt: skip
