"""Rebuild the state of an interrupted run from its event log, so that only ops without a committed success run."""

# pyright: reportPrivateUsage=false
# ActiveExecution has no public way back to "ready to run" for ops that a dead worker was at.

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestration.warm.internals import (
    ActiveExecution,
    DagsterEvent,
    ErrorSource,
    EventLogEntry,
    InstanceConcurrencyContext,
)


@dataclass
class Replayed:
    """What the log told."""

    failures: list[DagsterEvent] = field(default_factory=list[DagsterEvent])
    newly_skipped: list[str] = field(default_factory=list[str])


def replay(active: ActiveExecution, entries: Sequence[EventLogEntry], pools: InstanceConcurrencyContext) -> Replayed:
    """Bring `active` to where the run stood; ops that were under way are ready to run again."""
    # Dagster's own rebuild_from_events trips over skipped ops, delayed retries and half-done dynamic outputs.
    active._instance_concurrency_context = None  # noqa: SLF001 - the past claims no slots
    done = Replayed()
    skipped: list[str] = []
    committed = _committed(entries)
    _settle(active, skipped)
    active.get_steps_to_execute()
    for index, entry in enumerate(committed):
        event = entry.get_dagster_event()
        if event.is_step_up_for_retry:
            active.mark_up_for_retry(str(event.step_key), _retry_at(entry, committed[index + 1 :]))
        else:
            active.handle_event(event)
        if event.is_step_failure:
            done.failures.append(event)
        _settle(active, skipped)
        active.get_steps_to_execute()
    recorded = {entry.step_key for entry in entries if entry.is_dagster_event and _kind(entry) == "STEP_SKIPPED"}
    done.newly_skipped = [key for key in skipped if key not in recorded]
    _restart_in_flight(active)
    active._instance_concurrency_context = pools  # noqa: SLF001 - see above
    return done


def _committed(entries: Sequence[EventLogEntry]) -> list[EventLogEntry]:
    """Return the events that count: those of attempts that came to an end by themselves."""
    relevant = [entry for entry in entries if entry.is_dagster_event and _counts(entry.get_dagster_event())]
    last_end = {
        entry.step_key: index
        for index, entry in enumerate(relevant)
        if not entry.get_dagster_event().is_successful_output
    }
    return [entry for index, entry in enumerate(relevant) if index <= last_end.get(entry.step_key, -1)]


def _counts(event: DagsterEvent) -> bool:
    if event.is_step_failure:
        # An op that was cut off by the platform has not failed.
        return event.step_failure_data.error_source is not ErrorSource.INTERRUPT
    return event.is_successful_output or event.is_step_success or event.is_step_up_for_retry


def _kind(entry: EventLogEntry) -> str:
    return entry.get_dagster_event().event_type_value


def _retry_at(entry: EventLogEntry, later: Sequence[EventLogEntry]) -> float | None:
    """Return when to retry, or None for at once: where the retry has begun already, or has no delay."""
    wait = entry.get_dagster_event().step_retry_data.seconds_to_wait
    if not wait or any(other.step_key == entry.step_key for other in later):
        return None
    return entry.timestamp + wait


def _settle(active: ActiveExecution, skipped: list[str]) -> None:
    """Skip and abandon what the events so far imply."""
    while True:
        to_skip, to_abandon = active.get_steps_to_skip(), active.get_steps_to_abandon()
        for step in to_skip:
            skipped.append(step.key)
            active.mark_skipped(step.key)
        for step in to_abandon:
            active.mark_abandoned(step.key)
        if not to_skip and not to_abandon:
            return


def _restart_in_flight(active: ActiveExecution) -> None:
    for key in sorted(active._in_flight):  # noqa: SLF001 - handed out again, by priority and with slots
        active._in_flight.remove(key)  # noqa: SLF001
        active._executable.append(key)  # noqa: SLF001
