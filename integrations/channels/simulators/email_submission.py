"""The simulated mail provider's SMTP submission: as much of RFC 5321, 4954 and 3207 as mail clients use."""

import base64
import re

from integrations.channels.simulators.email_servers import CHALLENGE, Connection, bears


class Smtp(Connection):
    """One SMTP client's connection."""

    _signed_in = False
    _sender = ""
    _receiver = ""

    async def run(self) -> None:
        """Serve until the client leaves."""
        if not await self._met("CONNECT"):
            return
        await self.say("220 mail.test ESMTP")
        while True:
            command, _, given = (await self.hear()).partition(" ")
            command = command.upper()
            self.provider.note(command, "" if command == "AUTH" else given)
            if command == "QUIT":
                await self.say("221 bye")
                return
            if await self._met(command):
                await self._serve(command, given)

    async def _met(self, operation: str) -> bool:
        """Answer as a fault says, if there is one; returns whether to go on."""
        fault = self.provider.fault(f"SMTP {operation}")
        if fault is None:
            return True
        if fault.status is None:
            self.abort()
        else:
            await self.say(f"{fault.status} {fault.body}")
        return False

    async def _serve(self, command: str, given: str) -> None:
        if command == "EHLO":
            encrypted = self.writer.get_extra_info("sslcontext") is not None
            offers = ["STARTTLS"] if self.provider.tls is not None and not encrypted else ["AUTH PLAIN XOAUTH2"]
            await self.say("250-mail.test", *(f"250-{offer}" for offer in offers), "250 8BITMIME")
        elif command == "STARTTLS" and self.provider.tls is not None:
            await self.say("220 begin now")
            await self.writer.start_tls(self.provider.tls)
        elif command == "AUTH":
            await self._authenticate(given)
        elif not self._signed_in:
            await self.say("530 5.7.0 Authentication required")
        elif command == "DATA":
            await self._data()
        else:
            await self.say(self._envelope(command, given))

    async def _authenticate(self, given: str) -> None:
        kind, _, sealed = given.partition(" ")
        if kind.upper() == "XOAUTH2":
            self._signed_in = bears(sealed, self.provider)
            if not self._signed_in:
                await self.say(f"334 {CHALLENGE}")
                await self.hear()
        else:
            expected = f"\0{self.provider.user}\0{self.provider.password}"
            known = bool(self.provider.password) and base64.b64decode(sealed).decode() == expected
            self._signed_in = kind.upper() == "PLAIN" and known
        await self.say("235 welcome" if self._signed_in else "535 5.7.8 wrong password or token")

    def _envelope(self, command: str, given: str) -> str:
        address = re.search(r"<([^<>]*)>", given)
        if command == "MAIL" and address:
            self._sender, self._receiver = address[1], ""
        elif command == "RCPT" and address and self._sender:
            self._receiver = address[1]
        elif command not in {"RSET", "NOOP"}:
            return "503 5.5.1 not now"
        return "250 2.0.0 fine"

    async def _data(self) -> None:
        if not self._receiver:
            await self.say("503 5.5.1 not now")
            return
        await self.say("354 go on")
        lines: list[bytes] = []
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                raise EOFError
            lines.append(line[1:] if line.startswith(b".") else line)
        fault = self.provider.fault("SMTP CONTENT")
        if fault is None or fault.done:
            refused = self.provider.arrived(self._sender, self._receiver, b"".join(lines))
            if fault is None:
                await self.say(refused or "250 2.0.0 queued")
                return
        if fault.hang:
            await self.hear()  # nothing more is said until the client leaves
        elif fault.status is None:
            self.abort()
        else:
            await self.say(f"{fault.status} {fault.body}")
