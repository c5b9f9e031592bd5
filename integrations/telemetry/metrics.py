"""What processes must agree on to count alike; the gateway exposes `/metrics` from database aggregates.

Processes that are not the gateway open no port of their own: they write to the database (receipts, usage,
workers), and the gateway reads sums from there.
"""

PREFIX = "runbell_"

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds in seconds; 0.15 is the aim for a message without its model's time."""


def cumulative(counts: tuple[int, ...] | list[int]) -> list[tuple[str, float]]:
    """Turn counts per bucket (one more than LATENCY_BUCKETS_S: the last is beyond all) into Prometheus form.

    PostgreSQL's `width_bucket(seconds, array)` numbers the same buckets from 0.
    """
    if len(counts) != len(LATENCY_BUCKETS_S) + 1:
        raise ValueError(f"expected {len(LATENCY_BUCKETS_S) + 1} counts, got {len(counts)}")
    bounds = [*(str(bound) for bound in LATENCY_BUCKETS_S), "+Inf"]
    total, shown = 0, list[tuple[str, float]]()
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        shown.append((bound, float(total)))
    return shown
