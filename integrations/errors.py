"""Errors, named by what the catcher should do next.

RunbellError
├── TemporaryError        try again after `after` seconds
│   ├── RateLimited         the other end asked for a pause
│   ├── Unavailable         the other end can't be reached
│   └── Overloaded          a bound of ours is reached
└── PermanentError        trying again changes nothing
    ├── InvalidInput        tell whoever sent it
    ├── Unauthorized        the sender is not who they must be
    ├── Forbidden           the sender is known and may not
    │   └── BudgetSpent       not before there is a budget again
    ├── NotFound            there is no such thing
    ├── Rejected            the other end refuses this content
    ├── LeaseLost           someone else owns the work now: write nothing
    └── Misconfigured       tell the operator
"""


class RunbellError(Exception):
    """Base of everything that Runbell raises on purpose; `str(error)` may be shown to people."""


class TemporaryError(RunbellError):
    """Try again after `after` seconds."""

    def __init__(self, message: str, *, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = after


class RateLimited(TemporaryError):
    """The other end asked for a pause."""


class Unavailable(TemporaryError):
    """The other end can't be reached."""


class Overloaded(TemporaryError):
    """A bound of ours is reached; the caller should come back later."""


class PermanentError(RunbellError):
    """Trying again changes nothing."""


class InvalidInput(PermanentError):
    """What was sent is wrong; `field` points at it where one can be named."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Unauthorized(PermanentError):
    """The sender is not proven to be who they must be."""


class Forbidden(PermanentError):
    """The sender is known and may not do this."""


class BudgetSpent(Forbidden):
    """It would cost more than is left of a budget."""


class NotFound(PermanentError):
    """There is no such thing, or not for this principal."""


class Rejected(PermanentError):
    """The other end refuses this content."""


class LeaseLost(PermanentError):
    """Someone else owns this work now; nothing was written."""


class Misconfigured(PermanentError):
    """A setting is missing or wrong; the text says which and what to write."""
