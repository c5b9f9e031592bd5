"""How many requests of this process each model has: one whose every place they take would only say that it is busy.

What other processes ask is not known here; a replica that is full says so itself (`admission`), and rests then.
"""

from collections import Counter

from serving.admission import ORDER
from serving.fleet import ModelSpec
from serving.schema import Priority


class UnderWay:
    """Counts by model and priority. Used from one event loop."""

    def __init__(self) -> None:
        self._count = Counter[tuple[str, Priority]]()

    def begin(self, model: str, priority: Priority) -> None:
        """A request goes there."""
        self._count[model, priority] += 1

    def end(self, model: str, priority: Priority) -> None:
        """It is over."""
        self._count[model, priority] -= 1

    def full(self, spec: ModelSpec, priority: Priority) -> str | None:
        """Return why a request would surely be turned away: all slots and places to wait are taken.

        By requests that matter as much or more, since others would make room; of as many replicas as there may be.
        """
        matter = ORDER[: ORDER.index(priority) + 1]
        many = sum(self._count[spec.name, each] for each in matter)
        places = (spec.slots + spec.queue) * spec.replicas.max
        return f"full, {many} requests are under way there" if many >= places else None
