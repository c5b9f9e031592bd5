"""The chat socket of the real gateway: live, through disconnections, and over two gateways."""

import asyncio
import json
import uuid
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from integrations.database import Database
from integrations.database.disposable import fresh_database
from integrations.messages import Address, OutboundMessage
from tests.chats import Chat, Frame, chatting
from tests.gateways import Gateway, ScriptedWorker, running_gateway, wait_for

WHOLE = "".join(f"{index} " for index in range(20))


@pytest.fixture(scope="module")
def two_gateways(
    postgres: str, database_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Gateway]]:
    homes = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    with (
        fresh_database(postgres, database_template) as url,
        running_gateway(url, homes[0]) as one,
        running_gateway(url, homes[1]) as two,
    ):
        yield one, two


@pytest.fixture(scope="module")
def gateway(two_gateways: tuple[Gateway, Gateway]) -> Gateway:
    return two_gateways[0]


@pytest.fixture(scope="module")
def stores(gateway: Gateway) -> Iterator[Database]:
    database = Database(gateway.database_url, files=gateway.home / "files", pool_size=4)
    yield database
    database.close()


@pytest.fixture
def worker(stores: Database) -> Iterator[ScriptedWorker]:
    with ScriptedWorker(stores) as worker:
        yield worker


@pytest.fixture
def place() -> str:
    return f"chat-{uuid.uuid4()}"


def texts(chat: Chat) -> list[tuple[str, str]]:
    return [(entry["role"], entry["text"]) for entry in chat.of("entry")]


def streamed(chat: Chat) -> str:
    """The text as a client builds it: a snapshot says how far it is, each progress adds the next piece."""
    text, seen = "", 0
    for frame in chat.frames:
        if frame["type"] == "snapshot":
            text, seen = frame["partial"], frame["seq"]
        elif frame["type"] == "progress":
            assert frame["seq"] == seen + 1
            text, seen = text + frame["body"].get("text", ""), frame["seq"]
    return text


async def test_a_message_is_accepted_shown_answered_and_settled(
    gateway: Gateway, worker: ScriptedWorker, place: str
) -> None:
    async with chatting(gateway.socket_url, place, token=gateway.token) as chat:
        message_id = await chat.say("你好", f"{place}-e1")
        settled = await chat.settled(message_id)

    assert settled["status"] == "answered"
    assert texts(chat) == [("user", "你好"), ("assistant", "echo: 你好")]
    assert {entry["message_id"] for entry in chat.of("entry")} == {message_id}
    assert chat.frames[0]["principal"]["name"] == "owner"


async def test_tokens_stream_in_order_after_the_message_itself(
    gateway: Gateway, worker: ScriptedWorker, place: str
) -> None:
    async with chatting(gateway.socket_url, place, token=gateway.token) as chat:
        message_id = await chat.say("stream", f"{place}-e1")
        await chat.settled(message_id)

    assert streamed(chat) == WHOLE
    kinds = [frame["type"] for frame in chat.frames]
    assert kinds.index("entry") < kinds.index("progress")
    assert kinds[-1] == "settled"


async def test_a_client_that_left_while_streaming_catches_up_without_loss_or_duplicate(
    gateway: Gateway, worker: ScriptedWorker, place: str
) -> None:
    worker.go_on.clear()
    async with chatting(gateway.socket_url, place, token=gateway.token) as chat:
        message_id = await chat.say("stream", f"{place}-e1")
        await chat.until(lambda frame: frame["type"] in {"progress", "snapshot"} and frame["seq"] >= 5)
    assert streamed(chat).startswith("0 1 ")

    async with chatting(gateway.socket_url, place, token=gateway.token, after=chat.last_entry) as again:
        snapshot = await again.until(lambda frame: frame["type"] == "snapshot")
        worker.go_on.set()
        await again.settled(message_id)

    assert snapshot["event_id"] == f"{place}-e1"
    assert streamed(again) == WHOLE
    assert texts(again) == [("assistant", "echo: stream")]


async def test_a_client_that_was_away_when_a_message_ended_hears_of_its_ops_and_its_end(
    gateway: Gateway, worker: ScriptedWorker, place: str
) -> None:
    worker.go_on.clear()
    async with chatting(gateway.socket_url, place, token=gateway.token) as chat:
        message_id = await chat.say("stream", f"{place}-e1")
        await chat.until(lambda frame: frame["type"] in {"progress", "snapshot"} and frame["seq"] >= 5)
    worker.go_on.set()
    await asyncio.to_thread(wait_for, lambda: _is_answered(gateway, message_id))

    async with chatting(gateway.socket_url, place, token=gateway.token, after=chat.last_entry) as again:
        snapshot = await again.until(lambda frame: frame["type"] == "snapshot")
        await again.settled(message_id)

    assert (snapshot["message_id"], snapshot["status"], snapshot["partial"]) == (message_id, "answered", "")
    assert texts(again) == [("assistant", "echo: stream")]


def _is_answered(gateway: Gateway, message_id: str) -> bool:
    return gateway.client.get(f"/v1/messages/{message_id}").json()["status"] == "answered"


async def test_what_was_said_while_away_is_there_on_return(
    gateway: Gateway, worker: ScriptedWorker, place: str
) -> None:
    async with chatting(gateway.socket_url, place, token=gateway.token) as chat:
        await chat.settled(await chat.say("one", f"{place}-e1"))
    async with chatting(gateway.socket_url, place, token=gateway.token) as other:
        await other.settled(await other.say("two", f"{place}-e2"))

    async with chatting(gateway.socket_url, place, token=gateway.token, after=chat.last_entry) as again:
        await again.until(lambda frame: frame["type"] == "entry" and frame["text"] == "echo: two")

    assert texts(again) == [("user", "two"), ("assistant", "echo: two")]


async def test_a_message_that_is_sent_again_after_a_disconnection_counts_once(
    gateway: Gateway, worker: ScriptedWorker, place: str
) -> None:
    async with chatting(gateway.socket_url, place, token=gateway.token) as chat:
        first = await chat.say("once", "the-same")
        await chat.settled(first)
    async with chatting(gateway.socket_url, place, token=gateway.token, after=chat.last_entry) as again:
        second = await again.say("once", "the-same")
        await again.settled(second)

    assert first == second
    assert not again.of("entry")


async def test_two_gateways_show_the_same_conversation(
    two_gateways: tuple[Gateway, Gateway], worker: ScriptedWorker, place: str
) -> None:
    one, two = two_gateways
    async with (
        chatting(one.socket_url, place, token=one.token) as here,
        chatting(two.socket_url, place, token=two.token) as there,
    ):
        message_id = await here.say("stream", f"{place}-e1")
        await asyncio.gather(here.settled(message_id), there.settled(message_id))

    assert texts(here) == texts(there) == [("user", "stream"), ("assistant", "echo: stream")]
    assert streamed(here) == streamed(there) == WHOLE


async def test_a_post_that_answers_nobody_appears_at_once(gateway: Gateway, stores: Database, place: str) -> None:
    async with chatting(gateway.socket_url, place, token=gateway.token) as chat:
        address = Address(channel="web", conversation=place)
        await asyncio.to_thread(stores.outbox.post, OutboundMessage(address=address, text="digest"), key=place)
        await chat.until(lambda frame: frame["type"] == "entry", seconds=20)

    assert texts(chat) == [("assistant", "digest")]


async def test_a_conversation_sees_nothing_of_another(gateway: Gateway, worker: ScriptedWorker, place: str) -> None:
    async with (
        chatting(gateway.socket_url, place, token=gateway.token) as chat,
        chatting(gateway.socket_url, f"{place}-b", token=gateway.token) as other,
        chatting(gateway.socket_url, place, token=gateway.token, channel="terminal") as terminal,
    ):
        await chat.settled(await chat.say("secret", f"{place}-e1"))
        for bystander in (other, terminal):
            await bystander.send(type="ping")
            await bystander.until(lambda frame: frame["type"] == "pong")

    assert not other.of("entry")
    assert not terminal.of("entry")


@pytest.mark.parametrize("token", [None, "wrong", ""])
async def test_without_proof_the_socket_is_closed(gateway: Gateway, place: str, token: str | None) -> None:
    async with chatting(gateway.socket_url, place, token=token) as chat:
        with pytest.raises(ConnectionClosed) as closed:
            await chat.socket.recv()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
    assert chat.frames[0]["type"] == "problem"


async def test_the_pages_session_opens_the_socket_from_our_own_page_only(gateway: Gateway, place: str) -> None:
    link = gateway.client.post("/v1/session-links").json()["url"]
    session = gateway.client.get(link).cookies["runbell_session"]
    cookie = {"Cookie": f"runbell_session={session}"}

    async with chatting(gateway.socket_url, place, token=None, headers={**cookie, "Origin": gateway.url}) as chat:
        assert chat.frames[0]["type"] == "ready"
    with pytest.raises(InvalidStatus) as refused:
        async with chatting(gateway.socket_url, place, token=None, headers={**cookie, "Origin": "http://evil.example"}):
            pass

    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "frame",
    ["{", "[]", '{"type": "unknown"}', '{"type": "message"}', '{"type": "message", "event_id": "e", "text": " "}',
     '{"type": "message", "event_id": "e", "text": "a\\u0000"}',
     '{"type": "message", "event_id": "e", "text": "x", "y": 1}',
     '{"type": "message", "event_id": "a\\nb", "text": "x"}', '{"type": "message", "event_id": "e", "text": "\\ud800"}',
     '{"type": "hello"}', b"bytes"],
)  # fmt: skip
async def test_a_bad_frame_is_a_problem_and_the_socket_stays_open(
    gateway: Gateway, place: str, frame: str | bytes
) -> None:
    async with chatting(gateway.socket_url, place, token=gateway.token) as chat:
        await chat.socket.send(frame)
        problem = await chat.until(lambda told: told["type"] == "problem")
        await chat.send(type="ping")
        await chat.until(lambda told: told["type"] == "pong")

    assert problem["detail"]


@pytest.mark.parametrize("query", ["", "?conversation=", "?conversation=a&channel=slack", f"?conversation={'x' * 201}"])
async def test_an_address_that_makes_no_sense_is_refused(gateway: Gateway, query: str) -> None:
    async with connect(gateway.socket_url + query, proxy=None) as socket:
        told: Frame = json.loads(await socket.recv())

    assert told["type"] == "problem"


async def test_a_client_that_does_not_read_holds_up_nobody_and_catches_up(
    gateway: Gateway, stores: Database, place: str
) -> None:
    address = Address(channel="web", conversation=place)
    async with chatting(gateway.socket_url, place, token=gateway.token) as slow:
        posted = gateway.client.post("/v1/messages", json={"text": "x"}).json()["message_id"]

        def flood() -> None:
            for index in range(2000):
                stores.progress.publish(posted, address, {"type": "delta", "text": f"{index}," + "x" * 4000})

        await asyncio.to_thread(flood)
        await asyncio.to_thread(
            stores.outbox.post, OutboundMessage(address=address, text="the end"), key=f"{place}-end"
        )
        assert wait_for(lambda: gateway.client.get("/healthz").is_success)
        await slow.until(lambda frame: frame["type"] == "entry" and frame["text"] == "the end", seconds=30)

    assert len(slow.of("entry")) == 1


async def test_a_form_that_nobody_waits_for_is_refused_and_not_stored(
    gateway: Gateway, stores: Database, place: str
) -> None:
    async with chatting(gateway.socket_url, place, token=gateway.token) as chat:
        await chat.send(type="form", event_id=f"{place}-e1", form="long gone", values={"key": "a secret"})
        problem = await chat.until(lambda told: told["type"] == "problem")

    assert (problem["event_id"], problem["form"]) == (f"{place}-e1", "long gone")
    assert "Nothing was done" in problem["detail"]
    assert stores.inbox.unfinished(Address(channel="web", conversation=place)) == []
