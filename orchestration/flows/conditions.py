"""Whether a step's condition holds: values that are referred to, compared with what the file says."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from integrations.errors import InvalidInput
from orchestration.flows.form import Compared, When
from orchestration.flows.references import Reference, read_path
from orchestration.members import as_text


def holds(when: When, look: Callable[[Reference], object]) -> bool:
    """Tell whether all of it holds. Raises `InvalidInput` where what is no number shall be above or below one."""
    return all(_fits(look(read_path(path)), wanted, path) for path, wanted in when.items())


def _fits(value: object, wanted: Compared, path: str) -> bool:
    said = _plain(value)
    if wanted.equal is not None and said not in map(_plain, wanted.equal):
        return False
    if wanted.others is not None and said in map(_plain, wanted.others):
        return False
    return all(
        compare(_number(value, path), Decimal(str(bound)))
        for bound, compare in (
            (wanted.above, Decimal.__gt__),
            (wanted.below, Decimal.__lt__),
            (wanted.at_least, Decimal.__ge__),
            (wanted.at_most, Decimal.__le__),
        )
        if bound is not None
    )


def _plain(value: object) -> str:
    """Return a value so that equal ones are equal: 7 in a JSON document, 7.0, and `7` that was typed."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{Decimal(str(value)).normalize():f}"
    return as_text(value)


def _number(value: object, path: str) -> Decimal:
    try:
        found = Decimal(as_text(value))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise InvalidInput(f"when: {path} is {as_text(value)[:100]!r}, which is no number.")
    return found
