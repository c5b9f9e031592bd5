"""Which commands the assistant may offer, and which one a sentence means."""

import logging
from collections.abc import Sequence

from integrations.database import Database
from integrations.errors import TemporaryError
from integrations.settings_access import Access
from orchestration.commands.publishing import CurrentCatalogue
from orchestration.commands.retrieval import Retrieval
from orchestration.commands.spec import CommandSpec
from orchestration.ops.answering.deciding import Meant
from serving.client import Models

_log = logging.getLogger("runbell.assistant")


class Offers:
    """The commands that may be proposed, with their examples' vectors. One per process; thread-safe."""

    def __init__(self, database: Database, models: Models, access: Access) -> None:
        self._principals = database.principals
        self._access = access
        self._catalogue = CurrentCatalogue(database)
        self._retrieval = Retrieval(models.embed, models.unknown_share, models.embedder)

    def to(self, principal_id: str) -> Sequence[CommandSpec]:
        """Return the listed commands that this principal may run."""
        principal = self._principals.get(principal_id)
        return self._catalogue().for_(principal, self._access).visible if principal else ()

    def meant_by(self, text: str, commands: Sequence[CommandSpec]) -> Meant | None:
        """Return the command that a sentence means, if any; without an embedder none is found, which is logged."""
        try:
            found = self._retrieval.find(text, commands)
        except TemporaryError as error:
            _log.warning("no command can be found now: %s", error)
            return None
        return Meant(found.command.name, found.args, found.sure, found.questions) if found else None
