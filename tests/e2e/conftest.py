"""One whole Runbell for all end-to-end tests; every test must leave it answering."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.platform import Platform


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    # Not pytest's folder: other pytest runs of the same user remove all but its last three.
    with tempfile.TemporaryDirectory(prefix="bell") as folder:
        platform = Platform(Path(folder))
        platform.start()
        yield platform
        platform.stop()
        assert platform.pids() == []
