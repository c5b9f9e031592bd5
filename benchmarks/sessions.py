"""Control commands while many chat sessions stream, beside the same commands on the idle platform.

    python benchmarks/sessions.py [--json] [--sessions 200] [--seconds 40] [--arrive 20] [--per-s 4]

The model speaks numbered words at a set pace and costs nothing; everything else is real: `WS /v1/chat` of one gateway,
inbox, progress and NOTIFY in PostgreSQL with fsync on, warm workers with a thread per session, a Dagster run per
answer, Chroma, and Ray Serve, from which the words come. Sessions begin one after the other; each asks again as soon as
it is answered, so that all of them stream all the time. Meanwhile people in other conversations say /status, /help,
/whoami and /cancel, eight at a time with pauses; timed from the frame that says it to the frame that has the answer.
Where their time went is read from their receipts. Whether each session has got each of its words once and in order is
looked at, too. Exit status 1 where one has not.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import sqlalchemy as sa

from benchmarks.chatting import PATIENCE_S, Chatter, Session
from benchmarks.load import Figures, free_port
from benchmarks.place import Place, answers, postgres, wait_for
from benchmarks.serve_place import served
from integrations.database.engine import driver_url

COMMANDS = ("/status", "/help", "/whoami", "/cancel")
TALKERS = 8
PAUSE_S = 0.8
WORDS = 96
"""What the assistant lets a small model say."""
AIM_MS = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=40, help="of streaming that are measured")
    parser.add_argument("--arrive", type=float, default=20, help="seconds over which sessions begin")
    parser.add_argument("--idle", type=float, default=15, help="seconds of the baseline")
    parser.add_argument("--per-s", type=float, default=4, help="words a second of each answer")
    parser.add_argument("--words", type=int, default=WORDS, help="words of an answer")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    results = measure(asked)
    print(json.dumps(results) if asked.json else told(results))
    return 1 if results["sessions"]["wrong"] else 0


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Start everything, talk, and end everything."""
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="runbell-sessions-") as folder,
        postgres(Path(folder)) as url,
        _platform(Place(Path(folder), url), asked) as address,
    ):
        results = asyncio.run(_talk(address, asked))
        results["streaming"]["stages"] = _stages(url, results.pop("window"))
    return results | {"aim": {"p99_ms": AIM_MS}, "machine": {"cores": os.cpu_count(), "load_before": round(load, 1)}}


@contextlib.contextmanager
def _platform(place: Place, asked: argparse.Namespace) -> Generator[tuple[str, str]]:
    """Run models, memory, gateway and workers; give the socket's address and the token."""
    from integrations.database import Database
    from integrations.security.tokens import create_token, read_token

    engine, port = "benchmarks.paced_engine", free_port()
    paced = {"engine": engine, "slots": asked.sessions + 8, "options": {"per_s": asked.per_s, "words": asked.words}}
    models = {"models": {"paced": paced, "unlike": {"engine": engine, "capabilities": ["embed"]}}}
    place.configure_dagster()
    with served(place.home, models, attached=False), place.processes() as start:
        create_token(place.home)
        ours = {name: value for name, value in os.environ.items() if name.startswith(("RAY_", "RUNBELL_SERVING__"))}
        threads = -(-asked.sessions // asked.workers) + 4
        chroma = str(Path(sys.executable).with_name("chroma"))
        start("chroma", chroma, "run", "--path", f"{place.folder}/chroma", "--port", str(place.chroma))
        wait_for(lambda: answers(f"http://127.0.0.1:{place.chroma}/api/v2/heartbeat"), "chroma", place.folder)
        start("gateway", sys.executable, "-m", "integrations.gateway", RUNBELL_GATEWAY__PORT=str(port))
        program = (sys.executable, "-m", "benchmarks.served_worker")
        database = Database(place.url, files=place.home / "files")
        for number in range(asked.workers):  # one after the other: the first one makes Dagster's tables
            start(f"worker{number}", *program, **ours, RUNBELL_WORKERS__THREADS=str(threads))
            there = number + 1
            wait_for(lambda there=there: len(database.workers.live()) == there, f"worker{number}", place.folder)
        database.close()
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "gateway", place.folder)
        yield f"ws://127.0.0.1:{port}/v1/chat", read_token(place.home)


async def _talk(address: tuple[str, str], asked: argparse.Namespace) -> dict[str, Any]:
    """Measure idle, arriving and streaming."""
    talkers = [Chatter(*address, f"talker-{number}") for number in range(TALKERS)]
    sessions = [Session(*address, f"session-{number}", asked.words) for number in range(asked.sessions)]
    async with contextlib.AsyncExitStack() as stack:
        for each in (*talkers, *sessions):
            await stack.enter_async_context(each)
        for talker in talkers:  # each command once, which nobody counts
            for command in COMMANDS:
                await talker.ask(command)
        idle = await _commands(talkers, asyncio.create_task(asyncio.sleep(asked.idle)))
        stop = asyncio.Event()
        speaking = [
            asyncio.create_task(session.speak(stop, after_s=number * asked.arrive / asked.sessions))
            for number, session in enumerate(sessions)
        ]
        arriving = asyncio.ensure_future(_all_stream(sessions, asked.arrive + PATIENCE_S))
        arrival = await _commands(talkers, arriving)
        before, began = sum(session.words_heard for session in sessions), time.monotonic()
        since = datetime.now(UTC)
        under_load = await _commands(talkers, asyncio.create_task(asyncio.sleep(asked.seconds)))
        heard, took = sum(session.words_heard for session in sessions) - before, time.monotonic() - began
        until = datetime.now(UTC)
        stop.set()
        await asyncio.gather(*speaking)
    return {
        "window": (since, until),
        "idle": idle,
        "arriving": arrival,
        "streaming": under_load,
        "sessions": {
            "count": len(sessions),
            "answers": sum(session.answers for session in sessions),
            "words_per_s": round(heard / took, 1),
            "words_per_s_spoken": round(asked.per_s * len(sessions), 1),
            "wrong": [wrong for session in sessions for wrong in session.wrong][:5],
        },
    }


async def _all_stream(sessions: list[Session], within_s: float) -> None:
    """Wait until every session streams."""
    try:
        async with asyncio.timeout(within_s):
            await asyncio.gather(*(session.streams.wait() for session in sessions))
    except TimeoutError:
        silent = [session for session in sessions if not session.streams.is_set()]
        wrong = [wrong for session in sessions for wrong in session.wrong][:3]
        raise SystemExit(f"{len(silent)} sessions never streamed: {wrong or 'no answer was wrong'}") from None


async def _commands(talkers: list[Chatter], until: "asyncio.Future[Any]") -> dict[str, Any]:
    """Let the talkers say commands in turn until then; give percentiles of all and of each command."""
    took: dict[str, list[float]] = defaultdict(list)

    async def talk(number: int, talker: Chatter) -> None:
        await asyncio.sleep(number * PAUSE_S / len(talkers))
        for command in itertools.islice(itertools.cycle(COMMANDS), number % len(COMMANDS), None):
            if until.done():
                return
            began = time.perf_counter()
            await talker.ask(command)
            took[command].append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE_S)

    await asyncio.gather(until, *(talk(number, talker) for number, talker in enumerate(talkers)))
    shown = {name: _shown(values) for name, values in {"all": [t for v in took.values() for t in v], **took}.items()}
    return {**shown.pop("all"), "each": shown}


def _stages(url: str, window: tuple[datetime, datetime]) -> dict[str, dict[str, float]]:
    """Return p50 and p99, in milliseconds, of what the commands of a window waited for, by their receipts."""
    said = sa.text("""
        select extract(epoch from claimed_at - accepted_at), extract(epoch from replied_at - claimed_at),
          extract(epoch from delivered_at - replied_at)
        from runbell.inbox where conversation like 'talker-%' and accepted_at between :since and :until
    """)
    with sa.create_engine(driver_url(url)).connect() as connection:
        rows = connection.execute(said, {"since": window[0], "until": window[1]}).all()
    columns = zip(("a worker's claim", "the answer", "delivery"), zip(*rows, strict=True), strict=True)
    found = {name: [float(value) for value in column if value is not None] for name, column in columns}
    return {name: {key: _shown(took)[key] for key in ("p50_ms", "p99_ms")} for name, took in found.items() if took}


def _shown(seconds: list[float]) -> dict[str, float]:
    figures = Figures(accepted=len(seconds), latencies=seconds).shown()
    return {name: figures[name] for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms", "accepted")}


def told(results: Mapping[str, Any]) -> str:
    """Return the figures for people."""
    sessions = results["sessions"]
    lines = [
        f"{sessions['count']} sessions, {sessions['answers']} answers, {sessions['words_per_s']} words/s arrived of"
        f" {sessions['words_per_s_spoken']} spoken; wrong: {sessions['wrong'] or 'none'} ({results['machine']})"
    ]
    for name in ("idle", "arriving", "streaming"):
        found = results[name]
        lines.append(
            f"{name:<10} p50 {found['p50_ms']:7.1f}  p95 {found['p95_ms']:7.1f}  p99 {found['p99_ms']:7.1f}"
            f"  max {found['max_ms']:7.1f} ms  over {found['accepted']} commands"
        )
    for stage, one in results["streaming"]["stages"].items():
        lines.append(f"  of that {stage:<16} p50 {one['p50_ms']:7.1f}  p99 {one['p99_ms']:7.1f} ms")
    return "\n".join([*lines, f"aim: p99 under {results['aim']['p99_ms']} ms while all stream"])


if __name__ == "__main__":
    sys.exit(main())
