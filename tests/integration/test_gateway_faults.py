"""Faults: the database restarts, a gateway is killed. What was acknowledged is stored; all recovers by itself."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.database import Database
from tests.chats import chatting
from tests.gateways import Gateway, ScriptedWorker, running_gateway, wait_for


def missing(gateway: Gateway) -> list[str]:
    return gateway.client.get("/readyz").json()["missing"]


async def pour(gateway: Gateway, stop: asyncio.Event) -> dict[str, list[str]]:
    """Send messages until told to stop; the ids that were acknowledged, and the statuses of all others."""
    told: dict[str, list[str]] = {"stored": [], "refused": []}
    async with httpx.AsyncClient(base_url=gateway.url, headers=gateway.client.headers, timeout=60) as client:

        async def one(sender: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                body = {"text": f"{sender}-{number}", "event_id": f"{sender}-{number}"}
                answer = await client.post("/v1/messages", json=body)
                if answer.status_code == 202:
                    told["stored"].append(answer.json()["message_id"])
                else:
                    told["refused"].append(str(answer.status_code))
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert int(answer.headers["retry-after"]) >= 1
                    await asyncio.sleep(0.1)

        await asyncio.gather(*(one(sender) for sender in range(8)))
    return told


async def test_no_message_is_acknowledged_that_a_database_restart_loses(own_server: Any, tmp_path: Path) -> None:
    with running_gateway(own_server.get_uri(), tmp_path / "home") as gateway:
        stop = asyncio.Event()
        pouring = asyncio.create_task(pour(gateway, stop))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_server.stop)
        await asyncio.to_thread(wait_for, lambda: "database" in missing(gateway))
        assert gateway.client.get("/healthz").is_success
        await asyncio.to_thread(own_server.start)
        await asyncio.to_thread(wait_for, lambda: "database" not in missing(gateway))
        await asyncio.sleep(0.5)
        stop.set()
        told = await pouring

        assert set(told["refused"]) <= {"503"}
        assert len(told["stored"]) == len(set(told["stored"])) > 8
        for message_id in told["stored"]:
            assert gateway.client.get(f"/v1/messages/{message_id}").json()["status"] == "received"


async def test_an_open_chat_goes_on_after_a_database_restart(own_server: Any, tmp_path: Path) -> None:
    url = own_server.get_uri()
    with running_gateway(url, tmp_path / "home") as gateway:
        async with chatting(gateway.socket_url, "c", token=gateway.token) as chat:
            await asyncio.to_thread(own_server.stop)
            await chat.send(type="message", event_id="lost", text="hi")
            problem = await chat.until(lambda f: f["type"] == "problem", 30)
            assert problem["event_id"] == "lost"
            await asyncio.to_thread(own_server.start)
            await asyncio.to_thread(wait_for, lambda: "database" not in missing(gateway))
            database = Database(url, files=tmp_path / "files", pool_size=4)
            with ScriptedWorker(database):
                message_id = await chat.say("hi", "lost")
                await chat.settled(message_id)
            database.close()

    assert [entry["text"] for entry in chat.of("entry")] == ["hi", "echo: hi"]


async def test_what_a_killed_gateway_acknowledged_is_stored_and_its_deliveries_are_taken_over(
    database_url: str, tmp_path: Path
) -> None:
    database = Database(database_url, files=tmp_path / "files", pool_size=4)
    with running_gateway(database_url, tmp_path / "one") as gateway:
        stop = asyncio.Event()
        pouring = asyncio.create_task(pour(gateway, stop))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(gateway.kill)
        stop.set()
        with pytest.raises(httpx.TransportError):
            await pouring
    with running_gateway(database_url, tmp_path / "two") as second:
        again = second.client.post("/v1/messages", json={"text": "0-1", "event_id": "0-1"}).json()
        assert again["duplicate"]
        with ScriptedWorker(database):
            wait_for(lambda: second.client.get(again["url"]).json()["receipt"]["delivered_at"], 20)
    database.close()
