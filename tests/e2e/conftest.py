"""One whole Runbell for all end-to-end tests; every test must leave it answering."""

from collections.abc import Iterator

import pytest

from tests.e2e.platform import Platform


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("bell"))
    platform.start()
    yield platform
    platform.stop()
    assert platform.pids() == []
