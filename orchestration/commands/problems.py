"""What is wrong with one word of a command, and what was perhaps meant."""

from pydantic import Field

from integrations.near import near
from orchestration.commands.spec import Argument, Frozen


class Problem(Frozen):
    """What is wrong with one word, `text[start:end]`, and what was expected there."""

    message: str
    word: str = ""
    start: int = 0
    end: int = 0
    argument: str | None = None
    expected: str | None = None
    suggestion: str | None = None
    missing: bool = Field(default=False, exclude=True)
    """Whether nothing at all was said about the argument."""


GONE = Problem(message="⚠️ This command no longer exists. / 该命令已不存在。")


def nearest_option(argument: Argument, value: str) -> str | None:
    """Return the choice that looks most like the value, if the argument has choices and one does."""
    return next(iter(near(value.casefold(), argument.options or ())), None)
