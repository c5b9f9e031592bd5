"""What is loaded is not walked by the garbage collector again; what comes later is."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from integrations.heap import settle


class Knot:
    """Refers to itself, so that only the collector ends it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_loaded_is_walked_no_more() -> None:
    settle()
    walked = len(gc.get_objects())
    settle()

    assert gc.get_freeze_count() > 1_000
    assert walked < gc.get_freeze_count()


def test_what_comes_later_is_collected() -> None:
    settle()
    ended = weakref.ref(Knot())
    gc.collect()

    assert ended() is None
