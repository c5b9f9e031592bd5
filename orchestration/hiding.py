"""Secret arguments of a step, taken out of whatever its action gives, complains of or reports."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast
from urllib.parse import quote

from integrations.security.secrets import DOTS

_here: ContextVar[tuple[str, ...]] = ContextVar("secrets", default=())


@contextmanager
def hiding(secrets: Sequence[str]) -> Generator[None]:
    """Tell what the calling thread carries out in this block which secrets it was given; see `secrets_here`."""
    token = _here.set(tuple(secrets))
    try:
        yield
    finally:
        _here.reset(token)


def secrets_here() -> tuple[str, ...]:
    """Return the secrets that what is carried out here was given, and that nothing may show."""
    return _here.get()


def hidden(value: Any, secrets: Sequence[str]) -> Any:  # noqa: ANN401 - of the same kind
    """Return what is kept and shown of a value: without secrets, also where they stand in an address or in JSON."""
    if isinstance(value, str):
        for secret in filter(None, secrets):
            for form in (secret, quote(secret, safe=""), *_in_json(secret)):
                value = value.replace(form, DOTS)
        return value
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return {hidden(name, secrets): hidden(item, secrets) for name, item in members}
    if isinstance(value, list):
        return [hidden(item, secrets) for item in cast("list[object]", value)]
    return value


def _in_json(text: str) -> tuple[str, str]:
    """Return how a text stands in a document, with and without the characters that ASCII lacks."""
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]
