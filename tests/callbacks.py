"""A channel between a real inbox, a real outbox and a scripted worker, within the test's own event loop."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from integrations.channels import Accepted, Call, Channel, Hooked
from integrations.database import Database
from integrations.errors import RunbellError, TemporaryError, Unauthorized
from integrations.gateway.deliver import Deliveries
from integrations.gateway.hub import Hub
from integrations.gateway.intake import Intake
from integrations.gateway.limits import Limits
from integrations.messages import InboundMessage
from tests.gateways import ScriptedWorker


@dataclass
class Connection:
    """One running channel; `received` holds what was handed in, repetitions included."""

    channel: Channel
    intake: Intake
    received: list[InboundMessage]
    url: str = ""

    async def receive(self, message: InboundMessage) -> Accepted:
        self.received.append(message)
        return await self.intake.receive(message)

    async def answer(self, request: web.Request) -> web.Response:
        """Pass a call on as the gateway's hooks do."""
        assert isinstance(self.channel, Hooked)
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.match_info, request.query, headers, await request.read(), request.method, request.path)
        try:
            answer = await self.channel.accept(call, self.receive)
        except RunbellError as error:
            status = 401 if isinstance(error, Unauthorized) else 503 if isinstance(error, TemporaryError) else 400
            return web.json_response({"title": str(error)}, status=status)
        if answer.content is None:
            return web.Response(status=answer.status)
        if isinstance(answer.content, str):
            return web.Response(status=answer.status, text=answer.content)
        return web.json_response(answer.content, status=answer.status)


@asynccontextmanager
async def connected(database: Database, channel: Channel, *, worker: bool = True) -> AsyncGenerator[Connection]:
    """Run a channel; with a worker each message is answered `echo: TEXT`."""
    hub = Hub(database)
    hub.start()
    intake = Intake(database, Limits(100_000), pending_per_conversation=1000)
    connection = Connection(channel, intake, [])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", connection.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    connection.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    jobs = [intake.run(), Deliveries(database, hub, {channel.name: channel}, "test").run()]
    tasks = [asyncio.create_task(job) for job in [*jobs, channel.listen(connection.receive)]]
    scripted = ScriptedWorker(database) if worker else None
    if scripted:
        await asyncio.to_thread(scripted.__enter__)
    try:
        yield connection
    finally:
        if scripted:
            await asyncio.to_thread(scripted.__exit__)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()
        await asyncio.to_thread(hub.close)
