"""What a conversation was shown last, for messages that may choose from it: one look for all that ask meanwhile.

Most networks without buttons bring short messages one by one; a transaction for each costs more than storing it.
"""

import asyncio
from collections.abc import Sequence

from integrations.database import Database
from integrations.messages import Address, Choice

Choices = Sequence[Choice]


class Shown:
    """Asks the transcript; whoever asks while it does is answered by the next look."""

    def __init__(self, database: Database) -> None:
        self._transcript = database.transcript
        self._asked: dict[Address, asyncio.Future[Choices]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def choices(self, address: Address) -> Choices:
        """Return the choices of our last message there; raises Unavailable without the database."""
        answer = self._asked.get(address)
        if answer is None:
            answer = self._asked[address] = asyncio.get_running_loop().create_future()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(answer)

    async def _look(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await asyncio.to_thread(self._transcript.choices, list(asked))
            except Exception as error:  # noqa: BLE001 - whoever asked must hear of it
                for answer in asked.values():
                    answer.set_exception(error)
                    answer.exception()  # Whoever asked may be gone.
            else:
                for address, answer in asked.items():
                    answer.set_result(found.get(address, ()))
