"""`/logs`: the last lines that a run printed and logged, without what looks like a secret."""

import logging

from integrations.database import Database, QueuedRun
from integrations.settings import Settings
from integrations.telemetry.redaction import redact
from orchestration.commands.asker import Asker

MOST_LINES = 30
LONGEST_LINE = 300
MOST_CHARACTERS = 3_000
_STREAMS = (("stdout", "Printed", "标准输出"), ("stderr", "Printed to stderr", "标准错误"))


def logs(database: Database, settings: Settings, run: QueuedRun, asker: Asker) -> str:
    """Return the ends of a run's log and of its streams; the caller has checked that the asker may see the run."""
    link = f"[{run.run_id[:8]}]({settings.run_url(run.run_id)})"
    parts = [
        (
            asker.say("Logged", "日志"),
            [
                f"{line.at:%H:%M:%S} {logging.getLevelName(line.level)} {line.op}: {line.text}".replace(" : ", ": ")
                for line in database.run_logs.logged(run.run_id, limit=MOST_LINES)
            ],
        )
    ]
    for stream, english, chinese in _STREAMS:
        parts.append((asker.say(english, chinese), database.run_logs.printed(run.run_id, stream).splitlines()))
    shown = [f"{title}\n```\n{text}\n```" for title, lines in parts if (text := _end(lines))]
    if not shown:
        return asker.say(
            f"**{run.job}** {link} has printed and logged nothing (or it was too long ago).",
            f"**{run.job}** {link} 没有任何输出或日志（或已过期）。",
        )
    return "\n\n".join([f"**{run.job}** {link}", *shown])


def _end(lines: list[str]) -> str:
    """Return the last lines, as much of them as is bearable, and nothing that would end a code block."""
    kept: list[str] = []
    room = MOST_CHARACTERS
    for line in reversed(lines[-MOST_LINES:]):
        short = redact(line).replace("```", "ʼʼʼ")
        short = short if len(short) <= LONGEST_LINE else short[:LONGEST_LINE] + "…"
        room -= len(short) + 1
        if room < 0:
            break
        kept.append(short)
    return "\n".join(reversed(kept)).strip("\n")
