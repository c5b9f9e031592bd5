"""Five-op durable runs per second, with PostgreSQL on the same cores and all events stored.

    python benchmarks/run_throughput.py [--json] [--runs 500] [--stock 3] [--workers 2] [--threads 4]

Runs are requested by rows in the run queue, as messages and launches request them; warm workers create, execute and
finish them. Counted from the first request to the last finished row; PostgreSQL as it comes, with fsync. Then the
same with 300 ms of waiting in one op and 200 runs in flight. Beside it, in the same call:
 floor: `execute_in_process` of the same job on an in-memory instance, one run after the other in one thread;
 stock: launched through the GraphQL of dagster-webserver, a process per run, in-process executor, dagster-postgres.
CPU is of the worker processes, and of PostgreSQL's beside it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.place import Place, graphql, launch, postgres, stock_webserver, wait_for

if TYPE_CHECKING:
    from integrations.database import Database

LOCATION = "benchmarks.five_location"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--stock", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--profile", type=Path, help="folder for py-spy's view of the first worker")
    asked = parser.parse_args()
    results: dict[str, Any] = {"load_before": os.getloadavg()[0], "cores": os.cpu_count(), "workers": asked.workers}
    results["floor"] = measure_floor()
    with tempfile.TemporaryDirectory(prefix="runbell-throughput-") as folder, postgres(Path(folder)) as url:
        place = Place(Path(folder), url)
        place.configure_dagster()
        place.serve_location(LOCATION)
        results["warm"] = measure_warm(place, "five", asked, asked.threads)
        results["warm_waiting"] = measure_warm(place, "five_waiting", asked, asked.in_flight // asked.workers)
        if asked.stock:
            results["stock"] = measure_stock(place, asked.stock)
    results["ratios"] = ratios(results)
    print(json.dumps(results) if asked.json else told(results))
    return 0


def measure_floor(runs: int = 60) -> dict[str, float]:
    """Execute in process, in memory, without any durability."""
    import dagster as dg

    from benchmarks.five_location import five

    silent = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(5):
            five.execute_in_process(run_config=silent, instance=instance)
        began, cpu = time.monotonic(), time.process_time()
        for _ in range(runs):
            five.execute_in_process(run_config=silent, instance=instance)
        wall, cpu = time.monotonic() - began, time.process_time() - cpu
    return {"per_s": round(runs / wall, 1), "cpu_ms_per_run": round(cpu / runs * 1000, 1)}


def measure_warm(place: Place, job: str, asked: argparse.Namespace, threads: int) -> dict[str, Any]:
    """Request all runs at once, and wait for the last."""
    from integrations.database import Database

    database = Database(place.url, files=place.home / "files")
    with place.processes() as start:
        more = {"RUNBELL_WORKERS__THREADS": str(threads)}
        workers = [
            start(f"worker{number}", sys.executable, "-m", LOCATION, **more).pid for number in range(asked.workers)
        ]
        wait_for(lambda: len(database.workers.live(within_s=5)) == asked.workers, "worker0", place.folder, 40)
        request(database, job, 20 * asked.workers)
        wait_for(lambda: unfinished(database) == 0, "worker0", place.folder)
        if asked.profile:
            spy = ("py-spy", "record", "-d", "6", "-r", "200", "-f", "raw", "--pid", str(workers[0]))
            start("spy", str(Path(sys.executable).with_name(spy[0])), *spy[1:], "-o", str(asked.profile / f"{job}.txt"))
            time.sleep(1)
        statements = database_figures(database)
        cpu, server = cpu_of(workers), cpu_of(children_of(postmaster(database)))
        began = time.monotonic()
        request(database, job, asked.runs)
        wait_for(lambda: unfinished(database) == 0, "worker0", place.folder)
        wall = time.monotonic() - began
        cpu = cpu_of(workers) - cpu
        server = cpu_of(children_of(postmaster(database))) - server
        after = database_figures(database)
    check(database)
    database.close()
    runs = asked.runs
    return {
        "per_s": round(runs / wall, 1),
        "runs": runs,
        "threads": threads,
        "cpu_ms_per_run": round(cpu / runs * 1000, 1),
        "postgres_cpu_ms_per_run": round(server / runs * 1000, 1),
        "transactions_per_run": round((after["transactions"] - statements["transactions"]) / runs, 1),
        "events_per_run": round((after["events"] - statements["events"]) / runs, 1),
        "bytes_per_run": round((after["bytes"] - statements["bytes"]) / runs),
    }


def measure_stock(place: Place, repetitions: int) -> dict[str, Any]:
    """Launch runs one after the other, as Dagster does it out of the box."""
    with stock_webserver(place, LOCATION) as port:
        began = time.monotonic()
        for _ in range(repetitions):
            run_id = launch(port, LOCATION, "five_in_process", {})
            wait_for(lambda run_id=run_id: ended(port, run_id), "webserver", place.folder)
        wall = time.monotonic() - began
    return {"per_s": round(repetitions / wall, 3), "runs": repetitions}


def ended(port: int, run_id: str) -> bool:
    """Tell whether a run has succeeded; raise where it has failed."""
    query = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
    status = graphql(port, query, run=run_id)["runOrError"]["status"]
    if status in {"FAILURE", "CANCELED"}:
        raise SystemExit(f"run {run_id}: {status}")
    return bool(status == "SUCCESS")


def request(database: "Database", job: str, runs: int) -> None:
    """Queue runs in one transaction, and wake the workers."""
    import sqlalchemy as sa

    rows = [{"run": str(uuid.uuid4()), "job": job} for _ in range(runs)]
    insert = sa.text("""insert into runbell.run_queue (run_id, location, job, request)
        values (:run, 'core', :job, '{"run_config": {}, "tags": {}}')""")
    with database.engine.begin() as connection:
        connection.execute(insert, rows)
        connection.execute(sa.text("select pg_notify('runbell_runs', 'core')"))


def unfinished(database: "Database") -> int:
    """Count runs that have not left the queue."""
    time.sleep(0.02)
    return int(_scalar(database, "select count(*) from runbell.run_queue where state <> 'finished'"))


def check(database: "Database") -> None:
    """Make sure that every run succeeded, with all its events."""
    bad = _scalar(database, "select count(*) from public.runs where status <> 'SUCCESS'")
    started = _scalar(database, "select count(*) from public.event_logs where dagster_event_type = 'STEP_SUCCESS'")
    runs = _scalar(database, "select count(*) from public.runs")
    if bad or started != 5 * runs:
        raise SystemExit(f"{bad} of {runs} runs did not succeed, {started} ops did")


def database_figures(database: "Database") -> dict[str, float]:
    """Return what the server counts."""
    time.sleep(1.2)  # its counters come in late
    counted = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    return {
        "transactions": _scalar(database, counted),
        "events": _scalar(database, "select count(*) from public.event_logs"),
        "bytes": _scalar(database, "select pg_database_size(current_database())"),
    }


def postmaster(database: "Database") -> int:
    """Return the pid of the server's first process."""
    folder = _scalar(database, "show data_directory")
    return int(Path(str(folder), "postmaster.pid").read_text().split()[0])


def children_of(parent: int) -> list[int]:
    """Return a process and its children."""
    found = [parent]
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(status.parent.name))
    return found


def cpu_of(pids: Sequence[int]) -> float:
    """Return the seconds of CPU that processes have used, and their ended children; gone ones count nothing."""
    used = 0.0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used += sum(map(int, fields[11:15])) * TICK_S
    return used


def ratios(results: Mapping[str, Any]) -> dict[str, float]:
    """Return how the figures compare."""
    warm, floor, waiting = results["warm"], results["floor"], results["warm_waiting"]
    made = {
        "cpu_of_floor": round(warm["cpu_ms_per_run"] / floor["cpu_ms_per_run"], 2),
        "waiting_of_warm": round(waiting["per_s"] / warm["per_s"], 2),
    }
    if "stock" in results:
        made["times_stock"] = round(warm["per_s"] / results["stock"]["per_s"], 1)
    return made


def told(results: Mapping[str, Any]) -> str:
    """Return the figures for people."""
    lines = [f"Five-op runs per second ({results['workers']} workers, {results['cores']} cores, load before"]
    lines[0] += f" {results['load_before']:.1f})"
    for name in ("warm", "warm_waiting", "floor", "stock", "ratios"):
        if name in results:
            lines += [f"  {name:13}" + ", ".join(f"{key} {value}" for key, value in results[name].items())]
    return "\n".join(lines)


def _scalar(database: "Database", query: str) -> Any:  # noqa: ANN401 - whatever the query selects
    import sqlalchemy as sa

    with database.engine.begin() as connection:
        return connection.scalar(sa.text(query))


if __name__ == "__main__":
    sys.exit(main())
