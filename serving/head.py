"""`python -m serving.head start --head …`: Ray's own command line without two helpers nobody here uses.

The API server (started by Ray even where the dashboard is off, for usage statistics only) and the proxy of Ray
Client cost 3.5 s of CPU and 230 MB at every start. Where a later Ray calls them something else, both simply start.
"""

import sys


def main() -> None:
    """Run `ray` with the arguments of this process."""
    from ray._private.node import Node
    from ray.scripts.scripts import main as ray

    for helper in ("start_api_server", "start_ray_client_server"):
        if hasattr(Node, helper):
            setattr(Node, helper, _nothing)
    sys.argv[0] = "ray"
    ray()


def _nothing(*_: object, **__: object) -> None:
    """Start nothing."""


if __name__ == "__main__":
    main()
