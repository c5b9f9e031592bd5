"""Errors of `integrations.errors` across a process, and vendors' errors as ours."""

from integrations import errors
from integrations.errors import InvalidInput, PermanentError, RunbellError, TemporaryError, Unavailable
from serving.schema import Failure


class Lost(Unavailable):
    """The replica is gone, or takes nothing any more: another one may answer."""


def to_failure(error: RunbellError) -> Failure:
    """Return the error as a value."""
    return Failure(
        kind=type(error).__name__,
        message=str(error),
        after=error.after if isinstance(error, TemporaryError) else None,
        field=error.field if isinstance(error, InvalidInput) else None,
    )


def to_error(failure: Failure) -> RunbellError:
    """Return the value as the error it was; a kind that this version doesn't know is a `PermanentError`."""
    kind = Lost if failure.kind == Lost.__name__ else getattr(errors, failure.kind, PermanentError)
    if not (isinstance(kind, type) and issubclass(kind, RunbellError)):
        kind = PermanentError
    if issubclass(kind, TemporaryError):
        return kind(failure.message, after=1.0 if failure.after is None else failure.after)
    if issubclass(kind, InvalidInput):
        return kind(failure.message, field=failure.field)
    return kind(failure.message)


def too_slow(timeout_s: float) -> Unavailable:
    """Return the error of a model that was slower than its deadline."""
    return Unavailable(f"The model did not finish within {timeout_s:.3g} s.")
