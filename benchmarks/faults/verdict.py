"""What must hold after the last kill: nothing lost, nothing doubled, nothing stuck, and the UI says the same."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from benchmarks.faults.platform import Platform
from benchmarks.faults.traffic import Sent

OPEN: LiteralString = """
    select (select count(*) from runbell.inbox where state in ('received', 'running', 'waiting'))
      + (select count(*) from runbell.run_queue where state <> 'finished')
      + (select count(*) from runs where status not in ('SUCCESS', 'FAILURE', 'CANCELED'))
"""
ANSWERS: LiteralString = """
    select i.id::text as message_id, i.state, i.run_id, i.error,
      (select array_agg(t.body->>'text') from runbell.transcript t
        where t.message_id = i.id and t.role = 'assistant') as answers,
      (select count(*) from runbell.outbox o where o.message_id = i.id and o.state <> 'sent') as unsent
    from runbell.inbox i
"""
RUNS: LiteralString = """
    select coalesce(r.run_id, q.run_id) as run_id, r.status, q.state, q.attempts, q.message_id::text as message_id,
      (select i.state from runbell.inbox i where i.id = q.message_id) as message
    from runs r full join runbell.run_queue q on q.run_id = r.run_id
"""
# An op that begins after its own success, or succeeds twice.
TWICE: LiteralString = """
    select distinct a.run_id, a.step_key from event_logs a
    join event_logs b on b.run_id = a.run_id and b.step_key = a.step_key and b.id > a.id
      and b.dagster_event_type in ('STEP_START', 'STEP_RESTARTED', 'STEP_SUCCESS')
    where a.dagster_event_type = 'STEP_SUCCESS'
"""
ENDS: LiteralString = """
    select run_id, array_agg(dagster_event_type) as ends from event_logs
    where dagster_event_type in ('PIPELINE_SUCCESS', 'PIPELINE_FAILURE', 'PIPELINE_CANCELED')
    group by 1 having count(*) > 1
"""
EFFECTS: LiteralString = """
    select run_id || '/' || step_key as key from event_logs
    where dagster_event_type = 'STEP_SUCCESS' and step_key = 'strike'
"""
LAST: LiteralString = """
    select e.dagster_event_type as kind, e.step_key, e.timestamp, left(e.event::json->>'user_message', 300) as message
    from event_logs e where e.run_id = %s order by id desc limit 12
"""


@dataclass
class Verdict:
    """Counts, and what is wrong, each with the ids that lead to it."""

    counts: dict[str, int] = field(default_factory=dict[str, int])
    faults: list[str] = field(default_factory=list[str])
    settled_s: float = 0.0


def judge(platform: Platform, sent: Sequence[Sent], patience_s: float) -> Verdict:
    """Wait until nothing is under way any more, at most so long, and look at everything."""
    began = time.monotonic()
    left = _wait_settled(platform, patience_s)
    verdict = Verdict(settled_s=round(time.monotonic() - began, 1))
    with psycopg.connect(platform.database_url, row_factory=dict_row) as connection:
        stored = {row["message_id"]: row for row in connection.execute(ANSWERS).fetchall()}
        runs = connection.execute(RUNS).fetchall()
        twice = connection.execute(TWICE).fetchall()
        ends = connection.execute(ENDS).fetchall()
        done = {row["key"] for row in connection.execute(EFFECTS).fetchall()}
        _messages(verdict, sent, stored, connection)
        _runs(verdict, runs, connection)
    for row in twice:
        verdict.faults.append(f"op {row['step_key']} of run {row['run_id']} ran again after its success")
    for row in ends:
        verdict.faults.append(f"run {row['run_id']} ended more than once: {row['ends']}")
    _effects(verdict, platform, done)
    verdict.counts |= {"under_way_at_the_end": left, "ops_repeated_after_success": len(twice)}
    if left:
        verdict.faults.append(f"{left} messages and runs were still under way after {patience_s:.0f} s")
    return verdict


def _wait_settled(platform: Platform, patience_s: float) -> int:
    until, left = time.monotonic() + patience_s, -1
    while left != 0 and time.monotonic() < until:
        with suppress(psycopg.Error), psycopg.connect(platform.database_url) as connection:
            row = connection.execute(OPEN).fetchone()
            left = row[0] if row else -1
        time.sleep(0.3)
    return left


def _messages(
    verdict: Verdict, sent: Sequence[Sent], stored: Mapping[str, Any], connection: psycopg.Connection[Any]
) -> None:
    counts: Counter[str] = Counter()
    for one in sent:
        row = stored.get(one.message_id)
        answers = (row and row["answers"]) or []
        counts["answers"] += len(answers)
        counts["duplicates"] += max(len(answers) - 1, 0)
        lost = row is None or not answers
        counts["losses"] += lost
        wrong = not lost and (row["state"] != "answered" or one.answer not in {"", answers[0]})
        counts["wrong_answers"] += wrong
        if lost or wrong or len(answers) > 1:
            about = "unknown" if row is None else f"{row['state']}, run {row['run_id']}, answers {answers}"
            tail = _last(connection, row["run_id"]) if row and row["run_id"] else ""
            verdict.faults.append(f"message {one.message_id} ({one.answer or 'help'}): {about}{tail}")
    verdict.counts |= {"messages": len(sent), "stored": len(stored)}
    verdict.counts |= {name: counts[name] for name in ("answers", "duplicates", "losses", "wrong_answers")}
    if len(stored) != len({one.message_id for one in sent}):
        verdict.faults.append(f"{len(stored)} messages are stored, {len(sent)} were acknowledged")


def _runs(verdict: Verdict, runs: Sequence[Mapping[str, Any]], connection: psycopg.Connection[Any]) -> None:
    stuck = disagree = 0
    for row in runs:
        ended = row["status"] in {"SUCCESS", "FAILURE", "CANCELED"} and row["state"] == "finished"
        agrees = row["status"] == "SUCCESS" and row["message"] in {None, "answered"}
        stuck += not ended
        disagree += ended and not agrees
        if not ended or not agrees:
            verdict.faults.append(f"run {dict(row)}{_last(connection, row['run_id'])}")
    resumed = sum((row["attempts"] or 0) > 1 for row in runs)
    verdict.counts |= {"runs": len(runs), "runs_resumed": resumed, "stuck": stuck, "not_successful": disagree}


def _effects(verdict: Verdict, platform: Platform, done: set[str]) -> None:
    outside = platform.home / "outside.txt"
    keys = outside.read_text().split() if outside.exists() else []
    verdict.counts |= {"effects": len(set(keys)), "effects_repeated_under_their_key": len(keys) - len(set(keys))}
    if set(keys) != done:
        verdict.faults.append(f"effects and successes differ: {sorted(set(keys) ^ done)}")


def _last(connection: psycopg.Connection[Any], run_id: str) -> str:
    rows = connection.execute(LAST, [run_id]).fetchall()
    return "".join(f"\n    {row['kind']} {row['step_key'] or ''} {row['message'] or ''}" for row in reversed(rows))
