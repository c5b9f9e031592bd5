"""What of Ray is internal by its name: an upgrade that moves it must not pass unseen."""

import inspect

import pytest

from serving.grpc_streams import OPTIONS

MOVED = (
    "Ray has moved what serving/grpc_streams.py asks a handle for: {}. Look in ray/serve/handle.py how the pieces of a"
    " stream travel now (DeploymentHandle.options), and change that module."
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own


def test_rays_handles_still_know_the_option_by_which_pieces_are_messages():
    from ray.serve.handle import DeploymentHandle

    known = inspect.signature(DeploymentHandle.options).parameters

    assert set(OPTIONS) <= set(known), MOVED.format(set(OPTIONS) - set(known))


def test_the_option_still_reaches_the_request():
    from ray.serve._private.common import RequestMetadata

    assert "_by_reference" in RequestMetadata.__dataclass_fields__, MOVED.format("RequestMetadata._by_reference")
