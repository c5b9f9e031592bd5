"""What Prometheus reads at /metrics: this process's own counters, and figures out of the database.

Database figures are the same in every gateway process: take `max`, not `sum`, over instances. Counters of model
calls begin at zero with the process, as counters do.
"""

import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from integrations.database import Database
from integrations.database.figures import Depth, Figures
from integrations.errors import Unavailable
from integrations.messages import utc_now

disable_created_metrics()
FAST = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
REQUESTS = Counter("runbell_http_requests", "HTTP requests answered", ["route", "method", "status"])
REQUEST_SECONDS = Histogram("runbell_http_request_seconds", "Seconds to answer", ["route"], buckets=FAST)
RECEIVED = Counter("runbell_messages_received", "Messages handed to the inbox", ["channel", "outcome"])
COMMIT_SECONDS = Histogram("runbell_inbox_commit_seconds", "Seconds of one group commit", buckets=FAST)
COMMIT_SIZE = Histogram(
    "runbell_inbox_commit_messages", "Messages in one group commit", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
INTAKE_QUEUE = Gauge("runbell_inbox_waiting_for_commit", "Messages not yet stored nor acknowledged")
SETTLED = Counter(
    "runbell_messages_settled", "Messages that came to an end, as heard by this process", ["channel", "status"]
)
DELIVERIES = Counter("runbell_outbox_deliveries", "Attempts to deliver", ["channel", "state"])
SOCKETS = Gauge("runbell_chat_sockets", "Open chat sockets")
MODEL_SECONDS = Histogram(
    "runbell_model_seconds",
    "Seconds of one model call",
    ["model"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
FIRST_TOKEN_SECONDS = Histogram(
    "runbell_model_first_token_seconds", "Seconds to a model's first token", ["model"], buckets=FAST
)
TOKENS = Counter(
    "runbell_model_tokens", "Tokens read and written by models; `cached` ones were read before", ["model", "direction"]
)
ANSWERS = Counter(
    "runbell_answer_cache_requests", "Requests on routes that give answers again, by whether there was one", ["result"]
)


class DatabaseFigures(Collector):
    """Asks the database at each scrape; `runbell_database_up` is 0 where it can't."""

    def __init__(self, database: Database, home: Path) -> None:
        self._figures = Figures(database.engine)
        self._workers = database.workers
        self._run = home / "run"
        self._began = utc_now()
        self._last_call: int | None = None
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks no database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        try:
            families = list(self._ask())
        except Unavailable:
            families = [GaugeMetricFamily("runbell_database_up", "Whether the database answers", value=0)]
        yield from families
        yield from processes(self._run)

    def _ask(self) -> Iterator[Metric]:
        with self._lock:
            self._count_calls()
        depths = self._figures.depths()
        yield from _queues(depths)
        lost = GaugeMetricFamily(
            "runbell_outbox_undelivered", "Messages that wait for `runbell outbox`", labels=["channel", "state"]
        )
        for depth in depths["undelivered"]:
            lost.add_metric([depth.place, depth.state], depth.count)
        yield lost
        runs = CounterMetricFamily("runbell_runs", "Runs ever queued")
        runs.add_metric([], self._figures.runs_made())
        yield runs
        workers = GaugeMetricFamily(
            "runbell_worker_threads", "Threads of live workers", labels=["worker", "location", "state"]
        )
        texts = CounterMetricFamily(
            "runbell_embedding_cache_texts", "Texts whose vectors a worker needed", labels=["worker", "result"]
        )
        for worker in self._workers.live():
            workers.add_metric([worker.id, worker.location, "busy"], worker.busy)
            workers.add_metric([worker.id, worker.location, "all"], worker.threads)
            texts.add_metric([worker.id, "hit"], worker.texts_known)
            texts.add_metric([worker.id, "miss"], worker.texts - worker.texts_known)
        yield from (workers, texts)
        yield GaugeMetricFamily("runbell_database_up", "Whether the database answers", value=1)

    def _count_calls(self) -> None:
        if self._last_call is None:
            self._last_call = self._figures.last_call(self._began)
        for call in self._figures.calls_after(self._last_call):
            self._last_call = call.id
            if call.from_cache is not None:
                ANSWERS.labels("hit" if call.from_cache else "miss").inc()
            if call.from_cache:
                continue  # no model was asked
            MODEL_SECONDS.labels(call.model).observe(call.total_ms / 1000)
            if call.first_token_ms is not None:
                FIRST_TOKEN_SECONDS.labels(call.model).observe(call.first_token_ms / 1000)
            TOKENS.labels(call.model, "in").inc(call.tokens_in)
            TOKENS.labels(call.model, "out").inc(call.tokens_out)
            TOKENS.labels(call.model, "cached").inc(call.tokens_cached)


def _queues(depths: dict[str, list[Depth]]) -> Iterator[Metric]:
    labels = {"inbox": "channel", "runs": "location", "outbox": "channel"}
    for name, label in labels.items():
        count = GaugeMetricFamily(f"runbell_{name}_depth", "Rows that wait or are worked on", labels=[label, "state"])
        age = GaugeMetricFamily(f"runbell_{name}_oldest_seconds", "Age of the oldest", labels=[label, "state"])
        for depth in depths[name]:
            count.add_metric([depth.place, depth.state], depth.count)
            age.add_metric([depth.place, depth.state], depth.oldest_s)
        yield count
        yield age


def processes(folder: Path) -> Iterator[Metric]:
    """Yield whether each process that the supervisor keeps lives, its memory, and how often it was restarted.

    What is kept stands in `state.json` (orchestration/supervise/board.py); without a supervisor nothing is told.
    """
    up = GaugeMetricFamily("runbell_process_up", "Whether the process lives", labels=["process"])
    memory = GaugeMetricFamily("runbell_process_memory_bytes", "Resident memory", labels=["process"])
    restarts = GaugeMetricFamily("runbell_process_restarts", "Restarts since the start", labels=["process"])
    for row in _kept(folder / "state.json"):
        size = _memory(row.get("pid"))
        up.add_metric([row["name"]], 0 if size is None else 1)
        restarts.add_metric([row["name"]], row.get("restarts") or 0)
        if size is not None:
            memory.add_metric([row["name"]], size)
    yield from (up, memory, restarts)


def _kept(path: Path) -> list[dict[str, Any]]:
    try:
        rows: dict[str, dict[str, Any]] = json.loads(path.read_text())["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # Run by something else than our supervisor: that tells about its processes itself.
    return [row for row in rows.values() if row.get("kind") == "process"]


def _memory(pid: int | None) -> int | None:
    try:
        return psutil.Process(pid).memory_info().rss if pid else None
    except psutil.Error:
        return None
