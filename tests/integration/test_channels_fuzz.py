"""Ten thousand spoilt requests per network: never accepted, never an exception. A quick version is in contract."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.channels.vectors import judge
from integrations.errors import RunbellError
from tests.requests import Authentic, Mutation, authentic, is_unchanged, mutations, spoil

AUTHENTIC = authentic()
PLATFORMS = sorted({request.platform for request in AUTHENTIC})
AT_ONCE = 50


@pytest.mark.parametrize("platform", PLATFORMS)
def test_ten_thousand_spoilt_requests_are_refused(platform: str) -> None:
    requests = [request for request in AUTHENTIC if request.platform == platform]
    judged = 0

    @settings(max_examples=10_000 // AT_ONCE, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(requests), st.lists(mutations, min_size=AT_ONCE, max_size=AT_ONCE))
    def spoiling(request: Authentic, several: list[Mutation]) -> None:
        nonlocal judged
        for mutation in several:
            judged += 1
            spoilt = spoil(request, mutation)
            try:
                read = judge(request.platform, request.scheme, spoilt)
            except RunbellError:
                continue
            assert is_unchanged(request, spoilt, read), spoilt

    spoiling()
    assert judged >= 10_000
