"""Streams of a Ray Serve handle as messages of gRPC: as objects of Ray, each piece costs both sides twice as much.

`_by_reference` is internal by its name, and stands nowhere else; tests/integration/test_serving_streams.py says so
where an upgrade of Ray moves it.
"""

from collections.abc import Mapping
from typing import Any

OPTIONS: Mapping[str, Any] = {"stream": True, "_by_reference": False, "response_serialization": "pickle"}


def streaming(handle: Any) -> Any:  # noqa: ANN401 - its methods are the deployment's
    """Return the handle, with methods that are generators and whose items are pickled messages."""
    return handle.options(**OPTIONS)
