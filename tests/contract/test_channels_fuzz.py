"""Spoilt requests of every network, a few hundred each: never accepted, never an exception. More in integration."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.channels.vectors import judge
from integrations.errors import RunbellError
from tests.requests import Authentic, Mutation, authentic, is_unchanged, mutations, spoil

AUTHENTIC = authentic()
PLATFORMS = sorted({request.platform for request in AUTHENTIC})


def accepted(request: Authentic, mutation: Mutation) -> bool:
    """Judge a spoilt request as the gateway does; anything but our own refusal comes out as an error."""
    spoilt = spoil(request, mutation)
    try:
        read = judge(request.platform, request.scheme, spoilt)
    except RunbellError as refusal:
        if "the case is malformed" in str(refusal) and mutation[1] != 13:
            raise AssertionError(spoilt) from refusal
        return False
    return not is_unchanged(request, spoilt, read)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_spoilt_request_is_refused_and_nothing_else_happens(platform: str) -> None:
    requests = [request for request in AUTHENTIC if request.platform == platform]

    @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(requests), st.lists(mutations, min_size=10, max_size=10))
    def spoiling(request: Authentic, several: list[Mutation]) -> None:
        for mutation in several:
            assert not accepted(request, mutation), spoil(request, mutation)

    spoiling()
