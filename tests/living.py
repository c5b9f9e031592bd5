"""The real gateway within the test's own event loop, a worker with the real dispatcher, and what its jobs answer."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from integrations.channels import Channel, discover
from integrations.database import ClaimedMessage, Database
from integrations.gateway.__main__ import configuration
from integrations.messages import Choice, InboundMessage, OutboundMessage
from integrations.security.tokens import create_token
from integrations.settings import Channels, Settings
from orchestration.commands.dispatch import Dispatcher
from orchestration.commands.publishing import publish
from orchestration.commands.spec import Argument, CommandSpec
from tests.gateways import Gateway, ScriptedWorker, free_port

GREET = CommandSpec(
    name="greet",
    location="core",
    job="greet",
    arguments=(Argument(name="name", path=("name",), json_schema={"type": "string"}, required=True),),
)


class Worker(ScriptedWorker):
    """Routes by the real dispatcher. `/greet` greets; free text is repeated in two pieces, the second on `go_on`.

    `choose` is answered with a button, `hush` with nothing.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        publish(database, "core", [GREET])
        self.heard: list[InboundMessage] = []
        self._dispatch = Dispatcher(database, Settings(), worker="scripted")

    def _handle(self, claimed: ClaimedMessage) -> None:
        message = claimed.message
        self.heard.append(message)
        run = self._dispatch(claimed)
        if run is None:
            return
        if run.job == "greet":
            replies = [OutboundMessage(address=message.address, text=f"Hello, {run.request['run_config']['name']}!")]
        else:
            replies = self._answers(claimed)
        self.database.inbox.answer(claimed.message_id, replies, run_id=run.run_id)
        self.database.runs.finish(run)

    def _answers(self, claimed: ClaimedMessage) -> list[OutboundMessage]:
        message = claimed.message
        if message.text.startswith("hush"):
            return []
        if message.text == "choose":
            choices = (Choice(label="Approve", text="/greet name=pressed"),)
            return [OutboundMessage(address=message.address, text="Sure?", choices=choices, asked=message.account)]
        publish, said = self.database.progress.publish, f"You said: {message.text}"
        publish(claimed.message_id, message.address, {"type": "delta", "text": "You said"})
        self.go_on.wait(20)
        publish(claimed.message_id, message.address, {"type": "delta", "text": said.removeprefix("You said")})
        return [OutboundMessage(address=message.address, text=said, message_id=claimed.message_id)]


class Living:
    """One installation with its gateway, which can be stopped and started again at the same address."""

    def __init__(self, database: Database, home: Path, channels: dict[str, object]) -> None:
        create_token(home)
        settings = {"home": home, "channels": Channels.model_validate(channels)}
        gateway = {"port": free_port(), "requests_per_minute": 1_000_000}
        self.settings = Settings.model_validate({**settings, "gateway": gateway})
        self.database = database
        self.url = f"http://127.0.0.1:{gateway['port']}"
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        serving = configuration(self.settings, self.database)
        self.channels: Mapping[str, Channel] = serving.app.state.services.channels  # type: ignore[union-attr]
        self._server = uvicorn.Server(serving)
        self._task = asyncio.create_task(self._server.serve())
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        assert self._server
        assert self._task
        self._server.should_exit = True
        await self._task


class Killable:
    """The gateway of one installation as a process of its own, for the simulated networks of this one."""

    def __init__(self, database: Database, home: Path, sections: str) -> None:
        self._process = Gateway(database.url, home, RUNBELL_CHANNELS=sections)
        self.url = self._process.url
        settings = Settings.model_validate({"home": home, "channels": json.loads(sections)})
        self.channels: Mapping[str, Channel] = discover(settings)

    async def start(self) -> None:
        await asyncio.to_thread(self._process.start)

    async def kill(self) -> None:
        """Send SIGKILL."""
        await asyncio.to_thread(self._process.kill)

    async def stop(self) -> None:
        self._process.client.close()
        await asyncio.to_thread(self._process.stop)


@asynccontextmanager
async def living(database: Database, home: Path, channels: dict[str, object]) -> AsyncGenerator[tuple[Living, Worker]]:
    gateway, worker = Living(database, home, channels), Worker(database)
    await gateway.start()
    with worker:
        try:
            yield gateway, worker
        finally:
            worker.go_on.set()
            await gateway.stop()
            # A cancelled wait leaves its thread at work with a connection.
            await asyncio.get_running_loop().shutdown_default_executor()
