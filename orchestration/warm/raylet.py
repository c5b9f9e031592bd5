"""The raylet that this process is connected to, and whether it is still there.

Ray's client waits for minutes for a cluster that was killed, and does not go over to the one that is started in its
place: whoever looks after actors must find out by itself.
"""

import socket
import time

LOOK_EVERY_S = 1.0


class Raylet:
    """Remembers the raylet; made right after `ray.init`."""

    def __init__(self) -> None:
        import ray

        mine = ray.get_runtime_context().get_node_id()
        self._path = next(str(node["RayletSocketName"]) for node in ray.nodes() if node["NodeID"] == mine)
        self._looked_at = time.monotonic()

    def is_gone(self) -> bool:
        """Tell whether nobody listens there any more; looks once a second. Does not block."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = now
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(LOOK_EVERY_S)
            try:
                probe.connect(self._path)
            except (ConnectionRefusedError, FileNotFoundError):
                return True
            except OSError:
                return False  # overloaded, but there
        return False
