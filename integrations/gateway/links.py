"""How each channel is connected: for `/readyz`, `runbell status` and metrics."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel

from integrations.channels import Channel, Hooked, Linked


class LinkView(BaseModel):
    """One channel: `up` or not; `called` where the network calls us, and nothing is held open."""

    state: Literal["connecting", "up", "down", "refused", "called"]
    since: datetime | None = None
    detail: str = ""
    attempts: int = 0


def links(channels: Mapping[str, Channel], refused: Mapping[str, str]) -> dict[str, LinkView]:
    """Return the state of every channel of a network; those of our own (web, terminal, REST) have none."""
    found = {name: LinkView(state="refused", detail=why) for name, why in refused.items()}
    for name, channel in channels.items():
        if isinstance(channel, Linked):
            link = channel.link
            found[name] = LinkView(state=link.state, since=link.since, detail=link.detail, attempts=link.attempts)
        elif isinstance(channel, Hooked):
            found[name] = LinkView(state="called")
    return dict(sorted(found.items()))


class LinkFigures(Collector):
    """The states of this process's channels, at each scrape."""

    def __init__(self, channels: Mapping[str, Channel], refused: Mapping[str, str]) -> None:
        self._channels = channels
        self._refused = refused

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield both families."""
        up = GaugeMetricFamily("runbell_channel_up", "Whether the channel can hear", labels=["channel"])
        attempts = GaugeMetricFamily(
            "runbell_channel_failed_attempts", "Connections that failed since the last good one", labels=["channel"]
        )
        for name, link in links(self._channels, self._refused).items():
            up.add_metric([name], 1 if link.state in ("up", "called") else 0)
            attempts.add_metric([name], link.attempts)
        yield from (up, attempts)
