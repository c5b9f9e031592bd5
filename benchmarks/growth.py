"""What finished runs cost: latency and throughput with few and with many of them, and a worker's memory as it goes on.

    python benchmarks/growth.py [--json] [--few 1000] [--many 200000] [--detailed 20000] [--memory 6000]

Two databases on one PostgreSQL (with fsync), each with a worker of its own: one with few finished runs, one with many,
copied by SQL from runs that were executed. A year's runs as retention leaves them: all have their row, tags, message
and answer, and the latest `--detailed` ones also their events, op outputs and logs. Rounds are measured in turns,
first here and then there, so that whatever else the machine does meets both; compared are the medians.
Then one worker goes on executing, and its own memory (USS) is looked at: the slope is that of the line through the
second half of what was seen.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.place import Place, postgres, wait_for
from benchmarks.run_latency import say, timed
from benchmarks.run_throughput import (
    children_of,
    cpu_of,
    database_figures,
    postmaster,
    request,
    unfinished,
)

LOCATION = "benchmarks.five_location"
WARM_UP = 60
# Parted as retention parts them: detail goes after 30 days, the rest after a year.
SUMMARIES = {
    "public.runs": {
        "run_id": "c.run_id",
        "run_body": "replace(t.run_body, t.run_id, c.run_id)",
        "create_timestamp": "c.at",
        "update_timestamp": "c.at",
        "start_time": "extract(epoch from c.at)",
        "end_time": "extract(epoch from c.at)",
    },
    "public.run_tags": {"run_id": "c.run_id", "value": "replace(t.value, t.run_id, c.run_id)"},
    "runbell.inbox": {
        "id": "c.message_id",
        "event_id": "c.run_id",
        "conversation": "c.conversation",
        "run_id": "c.run_id",
        "accepted_at": "c.at",
    },
    "runbell.run_queue": {
        "run_id": "c.run_id",
        "message_id": "c.message_id",
        "created_at": "c.at",
        "finished_at": "c.at",
    },
    "runbell.outbox": {
        "key": "c.run_id",
        "message_id": "c.message_id",
        "conversation": "c.conversation",
        "created_at": "c.at",
    },
    "runbell.transcript": {"message_id": "c.message_id", "conversation": "c.conversation", "at": "c.at"},
}
DETAILS = {
    "public.event_logs": {"run_id": "c.run_id", "event": "replace(t.event, t.run_id, c.run_id)"},
    "runbell.op_outputs": {"run_id": "c.run_id"},
    "runbell.op_logs": {"run_id": "c.run_id"},
}


@dataclass(frozen=True)
class Side:
    """A database with so many finished runs, and its worker."""

    finished: int
    database: Any
    connection: psycopg.Connection[Any]
    worker: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=200_000)
    parser.add_argument("--detailed", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=100, help="runs of a round")
    parser.add_argument("--messages", type=int, default=20, help="messages of a round")
    parser.add_argument("--memory", type=int, default=6_000, help="runs through one worker")
    asked = parser.parse_args()
    results: dict[str, Any] = {"load_before": os.getloadavg()[0], "cores": os.cpu_count()}
    with (
        tempfile.TemporaryDirectory(prefix="runbell-growth-") as folder,
        postgres(Path(folder)) as url,
        ExitStack() as stack,
    ):
        sides = {
            name: stack.enter_context(side(url, Path(folder) / name, finished, asked.detailed))
            for name, finished in (("few", asked.few), ("many", asked.many))
        }
        results |= compare(sides, asked)
        if asked.memory:
            results["memory"] = measure_memory(sides["few"], asked.memory)
    print(json.dumps(results) if asked.json else told(results))
    return 0


@contextmanager
def side(url: str, folder: Path, finished: int, detailed: int) -> Generator[Side]:
    """Make a database with finished runs, and start its worker."""
    import sqlalchemy as sa

    from integrations.database import Database
    from integrations.database.migrate import migrate

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create database {folder.name}".encode())
    own = sa.make_url(url).set(database=folder.name).render_as_string(hide_password=False)
    migrate(own)
    folder.mkdir()
    place = Place(folder, own)
    place.configure_dagster()
    place.serve_location(LOCATION)
    database = Database(own, files=place.home / "files")
    with place.processes() as start, psycopg.connect(own, autocommit=True) as connection:
        worker = start("worker", sys.executable, "-m", LOCATION)
        wait_for(lambda: bool(database.workers.live()), "worker", place.folder)
        for _ in range(WARM_UP):
            timed(connection, lambda: say(database))
        wait_for(
            lambda: not connection.execute("select 1 from runbell.inbox where replied_at is null").fetchall(), "reply"
        )
        fill(connection, finished - WARM_UP, detailed)
        yield Side(finished, database, connection, worker.pid)
    database.close()


def fill(connection: psycopg.Connection[Any], runs: int, detailed: int) -> None:
    """Copy a finished run with all that belongs to it, under other ids, spread over a year."""
    connection.execute("set synchronous_commit = off")
    connection.execute("create temp table one as select run_id, id as message_id from runbell.inbox limit 1")
    connection.execute(
        """create temp table copies as select gen_random_uuid()::text as run_id, gen_random_uuid() as message_id,
            gen_random_uuid()::text as conversation, now() - (%s - n) * interval '1 year' / %s as at, n
            from generate_series(1, %s) n""",
        (runs, max(runs, 1), runs),
    )
    for tables, where in ((SUMMARIES, "true"), (DETAILS, f"c.n > {runs - detailed}")):
        for table, changed in tables.items():
            connection.execute(copying(connection, table, changed, where).encode())
    connection.execute("set synchronous_commit = on")
    connection.execute("vacuum analyze")
    connection.execute("checkpoint")


def copying(connection: psycopg.Connection[Any], table: str, changed: Mapping[str, str], where: str) -> str:
    """Return the statement that copies the rows of one run; numbers of rows are left to the table."""
    schema, _, name = table.partition(".")
    columns = [
        row[0]
        for row in connection.execute(
            """select column_name from information_schema.columns where table_schema = %s and table_name = %s
                and is_identity = 'NO' and coalesce(column_default, '') not like 'nextval%%'""",
            (schema, name),
        )
    ]
    key = "run_id" if "run_id" in columns and table != "runbell.transcript" else "message_id"
    values = ", ".join(changed.get(column, f"t.{column}") for column in columns)
    return f"""insert into {table} ({", ".join(columns)}) select {values}
        from {table} t join one on one.{key} = t.{key} cross join copies c where {where} order by c.n"""


def compare(sides: Mapping[str, Side], asked: argparse.Namespace) -> dict[str, Any]:
    """Measure in turns."""
    before = {name: database_figures(each.database) for name, each in sides.items()}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(asked.rounds + 1):
        for name, each in list(sides.items())[:: 1 if number % 2 else -1]:
            rounds[name].append(one_round(each, asked.runs, asked.messages))
    results: dict[str, Any] = {}
    for name, each in sides.items():
        kept = rounds[name][1:]
        after, runs = database_figures(each.database), len(rounds[name]) * (asked.runs + asked.messages)
        results[name] = {
            "finished": each.finished,
            **{key: round(statistics.median(one[key] for one in kept), 2) for key in kept[0]},
            "bytes_per_run": round((after["bytes"] - before[name]["bytes"]) / runs),
        }
    few, many = results["few"], results["many"]
    results["many_of_few"] = {key: round(many[key] / few[key], 2) for key in rounds["few"][0]}
    return results


def one_round(each: Side, runs: int, messages: int) -> dict[str, float]:
    """Execute runs at once, then messages one after the other."""
    server = postmaster(each.database)
    cpu, pg, began = cpu_of([each.worker]), cpu_of(children_of(server)), time.monotonic()
    request(each.database, "five", runs)
    wait_for(lambda: unfinished(each.database) == 0, "worker")
    wall = time.monotonic() - began
    cpu, pg = cpu_of([each.worker]) - cpu, cpu_of(children_of(server)) - pg
    walls = [timed(each.connection, lambda: say(each.database)) for _ in range(messages)]
    return {
        "per_s": runs / wall,
        "message_p50_ms": statistics.median(walls) * 1000,
        "cpu_ms_per_run": cpu / runs * 1000,
        "postgres_cpu_ms_per_run": pg / runs * 1000,
    }


def measure_memory(each: Side, runs: int, steps: int = 20) -> dict[str, float]:
    """Let the worker go on, and look at its memory again and again."""
    process = psutil.Process(each.worker)
    seen: list[tuple[int, int]] = []
    for step in range(1, steps + 1):
        request(each.database, "five", runs // steps)
        wait_for(lambda: unfinished(each.database) == 0, "worker", within_s=600)
        seen.append((step * (runs // steps), process.memory_full_info().uss))
    late = seen[len(seen) // 2 :]
    slope = statistics.linear_regression([at for at, _ in late], [uss for _, uss in late]).slope
    return {
        "runs": seen[-1][0],
        "first_mb": round(seen[0][1] / 1e6, 1),
        "last_mb": round(seen[-1][1] / 1e6, 1),
        "bytes_per_run": round(slope),
    }


def told(results: Mapping[str, Any]) -> str:
    """Return the figures for people."""
    lines = [f"Few and many finished runs ({results['cores']} cores, load before {results['load_before']:.1f})"]
    lines += [
        f"  {name:12}" + ", ".join(f"{key} {value}" for key, value in results[name].items())
        for name in ("few", "many", "many_of_few", "memory")
        if name in results
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
