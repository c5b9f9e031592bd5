"""A warm worker that is connected to Ray, as those of an installation are: `python -m benchmarks.served_worker`."""

import sys

from orchestration.warm import alone
from orchestration.warm.routing import CORE
from serving.handles import connect

if __name__ == "__main__":
    connect()
    sys.argv = [sys.argv[0], CORE]
    alone.main()
