"""Which commands the assistant may offer to a principal, and how it finds the one meant."""

from collections.abc import Callable, Sequence

from integrations.database import Database
from orchestration.commands.spec import CommandSpec
from orchestration.ops.answering.deciding import Meant
from orchestration.ops.answering.values import Heard
from serving.client import Models


def commands_for(database: Database, heard: Heard) -> list[CommandSpec]:
    """Return the commands that may be proposed."""
    specs = [CommandSpec.model_validate(stored.spec) for stored in database.commands.all()]
    return [spec for spec in specs if not spec.hidden]


def finder(commands: Sequence[CommandSpec], models: Models, heard: Heard) -> Callable[[str], Meant | None]:
    """Return retrieval over these commands."""
    return lambda text: None
