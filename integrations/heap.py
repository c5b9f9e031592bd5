"""What a process has loaded, kept out of the garbage collector's way once it is ready to work."""

import gc


def settle() -> None:
    """Never look again at the objects that there are now: call it once, when everything is loaded.

    A full collection walks every object while all threads stand still: 0.3 s in a worker, with what Dagster and Ray
    load. Afterwards it walks those only that came since.
    """
    gc.collect()
    gc.freeze()
