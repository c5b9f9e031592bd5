"""A gateway without anything behind it: serves the page and speaks `/v1/chat`, as the tests tell it.

It keeps to the protocol exactly (docs/web-page.md), so that it is also the page's contract. What becomes of a
message is a script: a list of steps, chosen by its text. `Gate` holds a script until the test opens it.
"""

import asyncio
import itertools
import json
import threading
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from integrations.gateway.page import HEADERS, WEB
from tests.browser.script import JSON, Answer, Body, Gate, Lose, Message, Op, Settle, Step, assistant


class Standin:
    """The server and what it remembers; tests call it from their own thread."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], Message] = {}
        self.entries: dict[str, list[JSON]] = defaultdict(list)
        self.files: dict[str, tuple[bytes, str]] = {}
        self.commands: list[JSON] = []
        self.scripts: dict[str, Sequence[Step]] = {}
        self.problems: dict[str, str] = {}
        self.received: list[JSON] = []
        self.cancelled: list[str] = []
        self.ended: list[str] = []
        self.locked = False
        self.away = False
        self.twice = False
        self.lose_accepted = 0
        self.version = 1
        self._ids = itertools.count(1)
        self._sockets: dict[str, set[WebSocket]] = defaultdict(set)
        self._gates: dict[str, threading.Event] = defaultdict(threading.Event)
        self._reached: dict[str, threading.Event] = defaultdict(threading.Event)
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app(), host="127.0.0.1", port=0, log_level="error", ws="websockets-sansio", lifespan="off"
            )
        )
        self._thread = threading.Thread(target=self._run, name="standin", daemon=True)
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(10), "the stand-in did not start"

    def stop(self) -> None:
        for gate in list(self._gates.values()):
            gate.set()
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}/"

    def open(self, gate: str) -> None:
        """Let the scripts at this gate go on."""
        self._gates[gate].set()

    def wait_at(self, gate: str) -> None:
        """Wait until a script has come to this gate."""
        assert self._reached[gate].wait(10), f"no script came to {gate}"

    def drop(self) -> None:
        """Cut every connection, as a lost network does."""
        self._do(self._cut())

    def release_turns(self) -> None:
        """Let later messages be worked on although earlier ones are not done, as when their runs are parked."""
        self._turns.clear()

    def post(self, conversation: str, text: str) -> None:
        """Post into a conversation, as a timer does."""
        self._do(self._enter(conversation, "assistant", text, None))

    def said(self, text: str) -> list[Message]:
        """Return the messages that were accepted with this text."""
        return [message for message in self.messages.values() if message.text == text]

    def _do(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)  # type: ignore[arg-type]

    def _run(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            serving = asyncio.create_task(self._server.serve())
            while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            self._up.set()
            await serving
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run(main())

    def _app(self) -> FastAPI:
        app = FastAPI()
        app.add_api_websocket_route("/v1/chat", self._chat)
        app.add_api_route("/v1/commands", self._list_commands)
        app.add_api_route("/v1/files/{sha}", self._file)
        app.add_api_route("/v1/runs/{run_id}/cancel", self._cancel, methods=["POST"])
        app.mount("/", StaticFiles(directory=WEB, html=True))

        @app.middleware("http")
        async def headers(request: Request, call_next):  # type: ignore[no-untyped-def]
            response = Response(status_code=503) if self.away else await call_next(request)
            response.headers.update(HEADERS)
            return response

        return app

    async def _list_commands(self) -> Response:
        return (
            JSONResponse({"title": "Unauthorized"}, 401) if self.locked else JSONResponse({"commands": self.commands})
        )

    async def _cancel(self, run_id: str) -> Response:
        if run_id in self.ended:
            return JSONResponse({"title": "Conflict", "detail": "This run has ended already."}, 409)
        self.cancelled.append(run_id)
        return JSONResponse({"run_id": run_id, "state": "requested"}, 202)

    async def _file(self, sha: str) -> Response:
        data, media_type = self.files[sha]
        return Response(data, media_type=media_type)

    async def _chat(self, socket: WebSocket, conversation: str) -> None:
        if self.away:
            return await socket.close()
        await socket.accept()
        try:
            await self._talk(socket, conversation)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self._sockets[conversation].discard(socket)
        return None

    async def _talk(self, socket: WebSocket, conversation: str) -> None:
        hello = json.loads(await socket.receive_text())
        if self.locked:
            await socket.send_json({"type": "problem", "title": "Unauthorized", "detail": "The session is not valid."})
            return await socket.close(4401)
        principal = {"id": "owner", "name": "owner"}
        await socket.send_json(
            {"type": "ready", "conversation": conversation, "principal": principal, "version": self.version}
        )
        for entry in list(self.entries[conversation]):
            if int(str(entry["id"])) > hello["after"]:
                await socket.send_json(entry)
        for message in self.messages.values():
            if message.conversation == conversation and message.status not in {"answered", "failed", "dead"}:
                await socket.send_json(self._snapshot(message))
        self._sockets[conversation].add(socket)
        while True:
            await self._frame(socket, conversation, json.loads(await socket.receive_text()))

    async def _frame(self, socket: WebSocket, conversation: str, frame: JSON) -> None:
        self.received.append(frame)
        if frame["type"] == "ping":
            await socket.send_json({"type": "pong"})
        elif str(frame["text"]) in self.problems:
            problem = {"type": "problem", "title": "Refused", "detail": self.problems[str(frame["text"])]}
            await socket.send_json({**problem, "event_id": frame["event_id"]})
        else:
            message = self._accept(conversation, str(frame["event_id"]), str(frame["text"]))
            if self.lose_accepted:
                self.lose_accepted -= 1
                await self._cut()
            else:
                await socket.send_json({"type": "accepted", "event_id": message.event_id, "message_id": message.id})

    def _accept(self, conversation: str, event_id: str, text: str) -> Message:
        known = self.messages.get((conversation, event_id))
        if known:
            return known
        message = Message(str(uuid.uuid4()), event_id, conversation, text, str(uuid.uuid4()))
        self.messages[conversation, event_id] = message
        task = asyncio.create_task(
            self._play(message, self.scripts.get(text) or assistant(Answer(f"You said: {text}")))
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return message

    async def _play(self, message: Message, script: Sequence[Step]) -> None:
        async with self._turns[message.conversation]:
            await self._enter(message.conversation, "user", message.text, message)
            await self._progress(
                message, {"type": "run", "run_id": message.run_id, "url": self._run_url(message), "job": "assistant"}
            )
            for step in script:
                await self._step(message, step)

    async def _step(self, message: Message, step: Step) -> None:
        match step:
            case Gate(name):
                self._reached[name].set()
                await asyncio.to_thread(self._gates[name].wait, 30)
            case Op(name, state, ms):
                await self._progress(message, {"type": "op", "op": name, "state": state, "ms": ms})
            case Body(body):
                await self._progress(message, body)
            case Lose(body):
                self._fold(message, body)
            case Answer():
                await self._enter(message.conversation, "assistant", step.text, message, step)
            case Settle(status):
                message.status = status
                await self._tell(message.conversation, {"type": "settled", "message_id": message.id, "status": status})

    async def _progress(self, message: Message, body: JSON) -> None:
        self._fold(message, body)
        await self._tell(
            message.conversation, {"type": "progress", "message_id": message.id, "seq": message.seq, "body": body}
        )
        await asyncio.sleep(0.002)

    def _fold(self, message: Message, body: JSON) -> None:
        message.seq += 1
        if message.status == "received":
            message.status = "running"
        if body["type"] == "delta":
            message.partial += str(body["text"])
        elif body["type"] == "reset":
            message.partial = ""
        elif body["type"] == "op":
            message.ops[str(body["op"])] = {"op": body["op"], "state": body["state"], "ms": body["ms"]}
        elif body["type"] == "status":
            message.status = str(body["status"])

    def _snapshot(self, message: Message) -> JSON:
        return {
            "type": "snapshot",
            "message_id": message.id,
            "event_id": message.event_id,
            "text": message.text,
            "status": message.status,
            "run_id": message.run_id,
            "run_url": self._run_url(message),
            "ops": list(message.ops.values()),
            "partial": message.partial,
            "seq": message.seq,
        }

    def _run_url(self, message: Message) -> str:
        return f"http://127.0.0.1:3000/runs/{message.run_id}"

    async def _enter(
        self, conversation: str, role: str, text: str, message: Message | None, answer: Answer | None = None
    ) -> None:
        entry: JSON = {
            "type": "entry",
            "id": next(self._ids),
            "message_id": message and message.id,
            "role": role,
            "text": text,
            "at": datetime.now(UTC).isoformat(),
            "run_id": message and message.run_id,
            "run_url": message and self._run_url(message),
            "attachments": list(answer.attachments) if answer else [],
            "choices": list(answer.choices) if answer else [],
        }
        self.entries[conversation].append(entry)
        await self._tell(conversation, entry)

    async def _tell(self, conversation: str, frame: JSON) -> None:
        for socket in list(self._sockets[conversation]):
            for _ in range(2 if self.twice else 1):
                try:
                    await socket.send_json(frame)
                except (WebSocketDisconnect, RuntimeError):
                    self._sockets[conversation].discard(socket)

    async def _cut(self) -> None:
        for sockets in self._sockets.values():
            for socket in list(sockets):
                sockets.discard(socket)
                await socket.close(1012)
