"""What a worker asks of whoever routes messages; `commands.dispatch` does it."""

from typing import Protocol

from integrations.database import ClaimedMessage, RunClaim

CORE = "core"
"""The code location whose workers route messages."""


class Dispatch(Protocol):
    """Routes one message: answers it on the spot, or makes its run."""

    words: frozenset[str]
    """The control commands, which overtake."""

    def __call__(self, claimed: ClaimedMessage) -> RunClaim | None:
        """Return the run where this worker shall execute it; None where nothing is left to do here."""
        ...
