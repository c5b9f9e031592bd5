"""One whole Runbell for all end-to-end tests; every test must leave it answering."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import browser, new_page, shots
from tests.e2e.platform import Platform

__all__ = ["browser", "new_page", "shots"]  # here, so that there is one browser for all modules


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    # Not pytest's folder: other pytest runs of the same user remove all but its last three.
    with tempfile.TemporaryDirectory(prefix="bell") as folder:
        platform = Platform(Path(folder))
        platform.start()
        yield platform
        platform.stop()
        assert platform.pids() == []
