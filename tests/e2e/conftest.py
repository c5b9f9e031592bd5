"""One whole Runbell for all end-to-end tests; every test must leave it answering."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import browser, new_page, shots
from tests.e2e.platform import Platform
from tests.e2e.town import Town

__all__ = ["browser", "new_page", "shots"]  # here, so that there is one browser for all modules


@pytest.fixture(scope="session")
def town() -> Iterator[Town]:
    with Town() as town:
        yield town


@pytest.fixture(scope="session")
def platform(town: Town) -> Iterator[Platform]:
    # Not pytest's folder: other pytest runs of the same user remove all but its last three.
    with tempfile.TemporaryDirectory(prefix="bell") as folder:
        platform = Platform(Path(folder), sections=town.sections())
        platform.start()
        yield platform
        platform.stop()
        assert platform.pids() == []
