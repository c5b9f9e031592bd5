"""Simulated networks that push over connections of ours, in a process of their own, for `ingest.py`.

    python -m benchmarks.network_pushes

Its first line is the settings of all channels. Then, for each line `NAME AMOUNT`, it pushes so many messages as fast as
the connection takes them, built beforehand, and answers with when that began.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.network_requests import CONVERSATIONS, numbers, said
from integrations.channels.dingtalk.verify import BOT_TOPIC
from integrations.channels.feishu.frames import DATA, Frame, encode
from integrations.channels.simulators.base import Simulator
from integrations.channels.simulators.dingtalk import SimulatedDingTalk
from integrations.channels.simulators.discord import SimulatedDiscord
from integrations.channels.simulators.email import SimulatedEmail
from integrations.channels.simulators.email_servers import Stored
from integrations.channels.simulators.feishu import SimulatedFeishu
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.simulators.telegram import SimulatedTelegram
from integrations.channels.simulators.wecom_robot import SimulatedWeComRobot

Push = Callable[[Sequence[int]], Awaitable[None]]
PROVIDER = "mx.provider.test"


@dataclass
class Pushing:
    """One simulator of each network that is held by a connection. Frames are as the simulators' own, without waits."""

    slack: SimulatedSlack = field(default_factory=SimulatedSlack)
    telegram: SimulatedTelegram = field(default_factory=SimulatedTelegram)
    feishu: SimulatedFeishu = field(default_factory=SimulatedFeishu)
    dingtalk: SimulatedDingTalk = field(default_factory=SimulatedDingTalk)
    discord: SimulatedDiscord = field(default_factory=SimulatedDiscord)
    robot: SimulatedWeComRobot = field(default_factory=SimulatedWeComRobot)
    email: SimulatedEmail = field(default_factory=SimulatedEmail)

    def sections(self) -> dict[str, Any]:
        """Return the settings that lead here."""
        sections = {
            "slack": self.slack.settings("socket"),
            "telegram": self.telegram.settings("polling"),
            "feishu": self.feishu.settings().model_copy(update={"mode": "socket"}),
            "dingtalk": self.dingtalk.settings().model_copy(update={"mode": "stream"}),
            "discord": self.discord.settings("gateway"),
            "wecom": self.robot.settings(),
            "email": self.email.settings(authserv_id=PROVIDER),
        }
        return {name: section.model_dump(mode="json", exclude_none=True) for name, section in sections.items()}

    def builders(self) -> Mapping[str, Callable[[Sequence[int]], Callable[[], Awaitable[None]]]]:
        """Return by channel what builds the messages with these numbers; what that returns pushes them."""
        return {
            "slack": self._slack,
            "telegram": self._telegram,
            "feishu": self._feishu,
            "dingtalk": self._dingtalk,
            "discord": self._discord,
            "wecom-robot": self._robot,
            "email": self._email,
        }

    def _slack(self, count: Sequence[int]) -> Callable[[], Awaitable[None]]:
        authorizations = [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}]

        def frame(number: int) -> str:
            event = {"type": "message", "user": "U1", "text": said(number), "channel": f"D{number % CONVERSATIONS}"}
            event |= {"ts": f"1700000000.{number:06d}", "channel_type": "im"}
            payload = {"team_id": "T1", "type": "event_callback", "event": event, "event_id": f"Ev{number}"}
            envelope = {"envelope_id": f"e{number}", "type": "events_api", "retry_attempt": 0}
            return json.dumps({**envelope, "payload": {**payload, "authorizations": authorizations}})

        return _texts(self.slack, [frame(number) for number in count])

    def _telegram(self, count: Sequence[int]) -> Callable[[], Awaitable[None]]:
        def update(number: int) -> dict[str, Any]:
            message = {"message_id": number, "text": said(number), "from": {"id": 7, "is_bot": False}}
            return {
                "update_id": number,
                "message": {**message, "chat": {"id": 1 + number % CONVERSATIONS, "type": "private"}},
            }

        updates = [update(number) for number in count]

        async def push() -> None:
            self.telegram.updates.extend(updates)
            self.telegram.changed()

        return push

    def _feishu(self, count: Sequence[int]) -> Callable[[], Awaitable[None]]:
        def frame(number: int) -> bytes:
            message = {"message_id": f"om_{number}", "chat_id": f"oc_{number % CONVERSATIONS}", "chat_type": "p2p"}
            message |= {"message_type": "text", "content": json.dumps({"text": said(number)})}
            event = {"sender": {"sender_id": {"open_id": "ou_ann"}, "sender_type": "user"}, "message": message}
            payload = json.dumps(self.feishu.envelope("im.message.receive_v1", event)).encode()
            headers = {"type": "event", "message_id": f"f{number}", "trace_id": "t", "sum": "1", "seq": "0"}
            return encode(Frame(DATA, 1, headers=headers, payload=payload))

        frames = [frame(number) for number in count]

        async def push() -> None:
            for one in frames:
                await self.feishu.sockets[0].send_bytes(one)

        return push

    def _dingtalk(self, count: Sequence[int]) -> Callable[[], Awaitable[None]]:
        def frame(number: int) -> str:
            content = {"msgtype": "text", "text": {"content": said(number)}}
            data = self.dingtalk.message(content, group=f"cid{number % CONVERSATIONS}", message_id=f"msg{number}")
            head = {"topic": BOT_TOPIC, "messageId": f"frame{number}", "contentType": "application/json", "time": "1"}
            return json.dumps({"specVersion": "1.0", "type": "CALLBACK", "headers": head, "data": json.dumps(data)})

        return _texts(self.dingtalk, [frame(number) for number in count])

    def _discord(self, count: Sequence[int]) -> Callable[[], Awaitable[None]]:
        session = next(reversed(self.discord.sessions.values()))

        def frame(number: int) -> str:
            author = {"id": "u1", "username": "someone"}
            message = {"id": str(number), "channel_id": f"D{number % CONVERSATIONS}", "author": author, "type": 0}
            session.sent += 1
            return json.dumps(
                {"op": 0, "t": "MESSAGE_CREATE", "s": session.sent, "d": {**message, "content": said(number)}}
            )

        return _texts(self.discord, [frame(number) for number in count])

    def _robot(self, count: Sequence[int]) -> Callable[[], Awaitable[None]]:
        def frame(number: int) -> str:
            body = {"msgid": f"m{number}", "aibotid": "aib-1", "from": {"userid": f"u{number % CONVERSATIONS}"}}
            body |= {"chattype": "single", "msgtype": "text", "text": {"content": said(number)}}
            return json.dumps({"cmd": "aibot_msg_callback", "headers": {"req_id": f"r{number}"}, "body": body})

        return _texts(self.robot, [frame(number) for number in count])

    def _email(self, count: Sequence[int]) -> Callable[[], Awaitable[None]]:
        """Write mails that the provider has proven; what DKIM itself costs is dkimpy's."""

        def mail(number: int) -> bytes:
            sender = f"u{number % CONVERSATIONS}@people.test"
            lines = [
                f"Authentication-Results: {PROVIDER}; dkim=pass header.d=people.test",
                f"From: Someone <{sender}>",
                f"To: {self.email.address}",
                f"Message-ID: <{number}@people.test>",
                "Subject: disk",
                "MIME-Version: 1.0",
                'Content-Type: text/plain; charset="utf-8"',
                "Content-Transfer-Encoding: 8bit",
                "",
                said(number),
                "",
            ]
            return "\r\n".join(lines).encode()

        mails = [Stored(number, mail(number), datetime.now(UTC)) for number in count]

        async def push() -> None:
            self.email.mails = mails
            await self.email.deliver(mails[-1].raw)  # One more, which is known already, so that somebody looks.

        return push


def _texts(simulator: Simulator, frames: Sequence[str]) -> Callable[[], Awaitable[None]]:
    async def push() -> None:
        for one in frames:
            await simulator.sockets[0].send_str(one)

    return push


async def serve() -> None:
    """Push what is asked for until the input ends."""
    pushing, count = Pushing(), numbers()
    async with AsyncExitStack() as stack:
        for simulator in vars(pushing).values():
            await stack.enter_async_context(simulator)
        print(json.dumps(pushing.sections()), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, amount = line.split()
            push = pushing.builders()[name]([next(count) for _ in range(int(amount))])
            began_at = time.time()
            await push()
            print(began_at, flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
