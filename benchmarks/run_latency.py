"""From the launch of a five-op job through the GraphQL of dagster-webserver to its success, beside stock Dagster.

    python benchmarks/run_latency.py [--json] [--runs 100] [--stock 5] [--multiprocess 2]

Ours: our launcher, and one warm worker that has executed before. Stock: default launcher (a process per run) and
default coordinator, with the daemon that looks into its queue every 5 s; once with the in-process and once with the
multiprocess executor, the default one; `unqueued` is the in-process executor without that queue. Also ours from a typed
message: from before its insertion into the inbox to the success of its run, and to its answer, without webserver. One
run at a time; the same dagster-postgres schema on the same PostgreSQL with fsync. A run has succeeded once its row in
Dagster's table says so, which is looked at every 2 ms.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.message_latency import figures
from benchmarks.place import Place, launch, postgres, stock_url, stock_webserver, wait_for, webserver

if TYPE_CHECKING:
    from integrations.database import Database

LOCATION = "benchmarks.five_location"
WARM_UP = 10
LOOK_S = 0.002
STOCK = ("stock_in_process", "stock_multiprocess", "stock_in_process_unqueued")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--stock", type=int, default=5)
    parser.add_argument("--multiprocess", type=int, default=2)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="runbell-latency-") as folder, postgres(Path(folder)) as url:
        place = Place(Path(folder), url)
        place.configure_dagster()
        place.serve_location(LOCATION)
        results: dict[str, Any] = measure_warm(place, asked.runs)
        if asked.stock:
            results |= measure_stock(place, asked.stock, asked.multiprocess)
    results["ratios"] = ratios(results)
    results["aim"] = {"graphql_p50_ms": 120, "inbox_p50_ms": 60, "times_stock_in_process": 40}
    results["machine"] = {"cores": os.cpu_count(), "load_before": round(load, 1)}
    print(json.dumps(results) if asked.json else told(results))
    return 0


def measure_warm(place: Place, runs: int) -> dict[str, Any]:
    """Launch through GraphQL, then send typed messages, one after the other."""
    from integrations.database import Database

    database = Database(place.url, files=place.home / "files")
    with (
        place.processes() as start,
        psycopg.connect(place.url, autocommit=True) as connection,
    ):
        start("worker", sys.executable, "-m", LOCATION)
        wait_for(lambda: bool(database.workers.live()), "worker", place.folder)
        with webserver(place, "-w", str(place.workspace)) as port:
            through_graphql = repeated(connection, lambda: launch(port, "core", "five", {}), runs)
        from_inbox = repeated(connection, lambda: say(database), runs)
        answered = receipts(connection, runs)
    database.close()
    return {"graphql": through_graphql, "inbox": from_inbox, "inbox_stages": answered}


def measure_stock(place: Place, in_process: int, multiprocess: int) -> dict[str, Any]:
    """Launch the same jobs as Dagster does it out of the box, and then without its queue."""
    jobs = {"in_process": ("five_in_process", in_process), "multiprocess": ("five", multiprocess)}
    measured = {f"stock_{name}": launched(place, *job, queued=True) for name, job in jobs.items() if job[1]}
    if in_process:
        measured["stock_in_process_unqueued"] = launched(place, *jobs["in_process"], queued=False)
    return measured


def launched(place: Place, job: str, runs: int, *, queued: bool) -> dict[str, float]:
    """Launch with stock Dagster, as often, after one launch that doesn't count."""
    with (
        stock_webserver(place, LOCATION, queued=queued) as port,
        psycopg.connect(stock_url(place), autocommit=True) as connection,
    ):
        return repeated(connection, lambda: launch(port, LOCATION, job, {}), runs, warm_up=1)


def repeated(
    connection: psycopg.Connection[Any], start: Callable[[], str], runs: int, *, warm_up: int = WARM_UP
) -> dict[str, float]:
    """Start runs one after the other, and time each until its success."""
    walls = [timed(connection, start) for _ in range(warm_up + runs)][warm_up:]
    return {**figures(walls), "runs": runs}


def timed(connection: psycopg.Connection[Any], start: Callable[[], str]) -> float:
    """Return the seconds from before the start to the success of the run that it returns."""
    began = time.monotonic()
    run_id = start()
    while (status := status_of(connection, run_id)) != "SUCCESS":
        if status in {"FAILURE", "CANCELED"} or time.monotonic() - began > 120:
            raise SystemExit(f"run {run_id}: {status}")
        time.sleep(LOOK_S)
    return time.monotonic() - began


def status_of(connection: psycopg.Connection[Any], run_id: str) -> str | None:
    """Return what Dagster's table says."""
    row = connection.execute("select status from public.runs where run_id = %s", (run_id,)).fetchone()
    return row[0] if row else None


def say(database: "Database") -> str:
    """Store a typed message as the gateway does; returns the id of the run that it leads to."""
    from integrations.messages import Address, InboundMessage, run_id_for

    address = Address(channel="bench", conversation=uuid.uuid4().hex)
    message = InboundMessage(address=address, event_id=uuid.uuid4().hex, account="bench", text="/five")
    (received,) = database.inbox.receive([message])
    return run_id_for(str(received.message_id))


def receipts(connection: psycopg.Connection[Any], runs: int) -> dict[str, float]:
    """Return where the time of the latest messages went: medians between the stamps of their receipts."""
    wait_for(lambda: not connection.execute("select 1 from runbell.inbox where replied_at is null").fetchall(), "reply")
    stages = {"claimed": "claimed_at - accepted_at", "started": "started_at - accepted_at"}
    stages["answered"] = "replied_at - accepted_at"
    columns = ", ".join(
        f"percentile_cont(0.5) within group (order by extract(epoch from {span}) * 1000)" for span in stages.values()
    )
    query = f"select {columns} from (select * from runbell.inbox order by seq desc limit {runs}) latest"
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return {f"{stage}_after_ms": round(value, 1) for stage, value in zip(stages, row, strict=True)}


def ratios(results: Mapping[str, Any]) -> dict[str, float]:
    """Return how many times as fast as stock the launch through GraphQL is, by medians."""
    ours = results["graphql"]["p50_ms"]
    return {f"times_{name}": round(results[name]["p50_ms"] / ours, 1) for name in STOCK if name in results}


def told(results: Mapping[str, Any]) -> str:
    """Return the figures for people."""
    lines = [f"Start to success of a five-op job ({results['machine']}; aims {results['aim']})"]
    for name in ("graphql", "inbox", *STOCK):
        if name in results:
            f = results[name]
            lines.append(
                f"  {name:25} p50 {f['p50_ms']:8.1f}  p95 {f['p95_ms']:8.1f}  p99 {f['p99_ms']:8.1f} ms"
                f"  over {f['runs']} runs"
            )
    lines += [f"  {name} {value}" for name, value in {**results["inbox_stages"], **results["ratios"]}.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
