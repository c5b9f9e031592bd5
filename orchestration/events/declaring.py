"""`@on_event` makes a Dagster sensor of a source, a filter and a function that gives a job its arguments."""

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import dagster as dg

from integrations.database import Database
from integrations.errors import RunbellError
from integrations.settings import Settings
from orchestration.commands.binding import bind_values
from orchestration.commands.catalogue import compile_job
from orchestration.commands.spec import CommandSpec
from orchestration.events.seam import Event, Source, When
from orchestration.resources import build

Arguments = Mapping[str, object]


class EventSensor(dg.SensorDefinition):
    """A sensor that `on_event` has made, with its source and the place of its function: `runbell check` looks there."""

    def __init__(self, source: Source, place: str, **said: Any) -> None:  # noqa: ANN401 - Dagster's own, handed on
        super().__init__(**said)
        self.source = source
        self.place = place


def on_event(
    source: Source, when: When | None = None, *, job: dg.JobDefinition, interval_s: int = 10, running: bool = True
) -> Callable[[Callable[[Event], Arguments | None]], EventSensor]:
    """Start a job for each event of a source; the function that stands below gives its arguments, or None.

    `when` says which events count at all. The source is looked at every `interval_s` seconds; with `running=False`
    only once an operator has switched the sensor on in the Dagster UI. What the function raises, or arguments that do
    not fit, fail the tick: nothing is left out, and all goes on once the code is mended. Raises `Inexpressible` where
    the job's arguments can't be given so.
    """
    spec = compile_job(job, "")

    def decorate(function: Callable[[Event], Arguments | None]) -> EventSensor:
        if not isinstance(function, FunctionType):
            raise TypeError("@on_event stands above a function that returns the job's arguments")

        def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
            settings = Settings()
            database = build(settings)["database"]
            assert isinstance(database, Database)
            return result_of(source, when or {}, spec, function, context.cursor, database, settings)

        code = function.__code__
        return EventSensor(
            source,
            f"{code.co_filename}:{code.co_firstlineno}",
            name=function.__name__,
            job=job,
            evaluation_fn=evaluate,
            minimum_interval_seconds=interval_s,
            description=f"{(function.__doc__ or '').strip()} Source: {source.kind}.".strip(),
            default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
            metadata={"runbell/event": source.kind},
        )

    return decorate


def result_of(
    source: Source,
    when: When,
    spec: CommandSpec,
    function: Callable[[Event], Arguments | None],
    cursor: str | None,
    database: Database,
    settings: Settings,
) -> dg.SensorResult:
    """Return the runs of the events since the cursor, and the cursor that follows once they are there."""
    try:
        batch = source.look(cursor, database, settings)
    except RunbellError as error:
        raise dg.Failure(f"{source.kind}: {error}", allow_retries=False) from error
    requests = [
        _request(source, spec, event, args)
        for event in batch.events
        if event.fits(when) and (args := function(event)) is not None
    ]
    skipped = f"{len(batch.events)} events, none of them counts." if batch.events else "Nothing has come."
    return dg.SensorResult(
        run_requests=requests or None, skip_reason=None if requests else dg.SkipReason(skipped), cursor=batch.cursor
    )


def _request(source: Source, spec: CommandSpec, event: Event, args: Arguments) -> dg.RunRequest:
    checked, problems = bind_values(spec, args, "en")
    if problems:
        raise dg.Failure(f"{source.kind}, event {event.id}: {problems[0].message}", allow_retries=False)
    return dg.RunRequest(
        run_key=event.id,
        run_config=spec.run_config_for(checked),
        tags={"runbell/trigger": "event", "runbell/event": event.id[:200]},
    )
