"""`runbell check`: load every code location and look at what would fail or be missed later, each with its place."""

import logging
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

import dagster as dg

from integrations.errors import Misconfigured
from integrations.settings import Settings
from integrations.settings_access import Access
from orchestration.authoring import KEY
from orchestration.commands.catalogue import PLATFORM_JOBS, compile_job, declared_by, is_no_command
from orchestration.commands.schemas import Inexpressible
from orchestration.commands.spec import CommandSpec
from orchestration.commands.values import Unreadable, default_of
from orchestration.commands.wording import expected
from orchestration.events.declaring import EventSensor
from orchestration.flows.doubts import doubts_of
from orchestration.flows.reading import Place, Unsound, flow_files
from orchestration.jobs.ring import ring
from orchestration.supervise.variables import in_sentences
from orchestration.terminal.claims import Claim, contested
from orchestration.terminal.places import is_theirs, place_of_job, place_of_schedule, short, written_in
from orchestration.terminal.whom import doubt_of, doubts_of_settings
from orchestration.warm.location import load_location, location_names


@dataclass(frozen=True)
class Complaint:
    """Something that is wrong (`error`) or probably not meant (`warning`), and where."""

    place: str
    text: str
    level: Literal["error", "warning"] = "error"


def check(settings: Settings, told: Callable[[str], None] = lambda _: None) -> list[Complaint]:
    """Return what is wrong with all code locations; their code is executed. Raises `Misconfigured`.

    `told` hears what goes on: to load a location takes seconds.
    """
    # Definitions want to know a database; loading them connects to none.
    os.environ.setdefault("RUNBELL_DATABASE__URL", settings.database.url or "postgresql://nobody@127.0.0.1:1/none")
    # Schedules from chat are looked at whenever they fire; their absence here is no fault.
    logging.getLogger("orchestration.triggers.from_chat").setLevel(logging.ERROR)
    complaints = [Complaint("environment", told, "warning") for told in in_sentences(os.environ, settings)]
    complaints += [Complaint(setting, doubt, "warning") for setting, doubt in doubts_of_settings(settings.access)]
    claims: list[Claim] = []
    names = location_names(settings)
    for number, name in enumerate(names, 1):
        told(f"Loading the code location {name} ({number} of {len(names)})")
        try:
            location = load_location(settings, name)
        except Misconfigured:
            raise
        except Exception as error:  # noqa: BLE001 - whatever their code raises is what is reported
            complaints += _broken(name, error, settings)
            continue
        told(f"Looking at the jobs, schedules and sensors of {name}")
        for repository in location.repositories.values():
            for job in sorted(repository.get_all_jobs(), key=lambda job: job.name):
                if not job.name.startswith("__"):
                    complaints += _of_job(job, name, claims, settings.access)
                    complaints += _of_flow(job, settings)
            complaints += [
                found for schedule in repository.schedule_defs for found in _of_schedule(schedule, repository)
            ]
            complaints += _of_events(repository, settings)
    return [*complaints, *(Complaint(place, text) for place, text in contested(claims))]


def _broken(location: str, error: BaseException, settings: Settings) -> list[Complaint]:
    """Tell what code raised when it was loaded, and the line of it that did; workflows in YAML are looked at apart."""
    while error.__cause__ is not None and not isinstance(error, Unsound):
        error = error.__cause__
    if isinstance(error, Unsound):
        broken = {place.file for place in error.places}
        sound = sorted({file for one in broken for file in flow_files(one.parent)} - broken)
        doubts = [doubt for file in sound for doubt in doubts_of(file, settings)]
        return [_in_file(place, "error") for place in (*error.places, *doubts)]
    if isinstance(error, SyntaxError) and error.filename:
        return [Complaint(f"{short(error.filename)}:{error.lineno}", f"{type(error).__name__}: {error.msg}")]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_theirs(frame.filename, settings)]
    place = f"{short(frames[-1].filename)}:{frames[-1].lineno}" if frames else f"code location {location}"
    return [Complaint(place, f"{type(error).__name__}: {_first_lines(error)}")]


def _of_flow(job: dg.JobDefinition, settings: Settings) -> Iterator[Complaint]:
    """Look at what a workflow in YAML would be refused at run time, as the settings are."""
    if (written := written_in(job)) is not None:
        yield from (_in_file(place, "error") for place in doubts_of(Path(written[0]), settings))


def _in_file(place: Place, level: Literal["error", "warning"]) -> Complaint:
    return Complaint(f"{short(str(place.file))}:{place.line}", place.text, level)


def _of_job(job: dg.JobDefinition, location: str, claims: list[Claim], access: Access) -> Iterator[Complaint]:
    place = place_of_job(job, location)
    for key in job.metadata:
        if key.startswith("runbell/") and key != KEY:
            yield Complaint(place, f"{job.name}: the metadata {key} means nothing; say it with @command")
    if (location, job.name) in PLATFORM_JOBS or is_no_command(job):
        return
    yield from _people(job, place, access)
    try:
        spec = compile_job(job, location)
    except Inexpressible as reason:
        yield Complaint(place, f"{job.name} is no command: {reason}", "error" if KEY in job.metadata else "warning")
        return
    yield from _defaults(spec, place)
    claims.append(Claim(spec, place))


def _people(job: dg.JobDefinition, place: str, access: Access) -> Iterator[Complaint]:
    """Look for whom a command is: administrators may run any, but an approval that nobody can give is never given."""
    try:
        declared = declared_by(job)
    except Inexpressible:
        return
    approval = declared.approval
    approvers = {*approval.approvers, *approval.escalate_to} if approval else set[str]()
    doubts = {rule: doubt for rule in {*(declared.allowed or ()), *approvers} if (doubt := doubt_of(rule, access))}
    for rule, doubt in sorted(doubts.items()):
        level = "error" if rule in approvers and approvers <= doubts.keys() else "warning"
        never = ", so nobody can approve" if level == "error" else ""
        yield Complaint(place, f"{declared.name or job.name}: {doubt}{never}", level)


def _defaults(spec: CommandSpec, place: str) -> Iterator[Complaint]:
    for argument in spec.arguments:
        try:
            default_of(argument.json_schema)
        except Unreadable:
            form = expected(argument.json_schema, "en")
            yield Complaint(place, f"{spec.name}: the default of {argument.name} is not {form}")


def _of_schedule(schedule: dg.ScheduleDefinition, repository: dg.RepositoryDefinition) -> Iterator[Complaint]:
    name = schedule.name
    if schedule.job_name == ring.name:
        return  # somebody made it in chat: it is looked at whenever it fires, with its owner's right
    if not repository.has_job(schedule.job_name):
        yield Complaint(f"schedule {name}", f"there is no job {schedule.job_name}")
        return
    job = repository.get_job(schedule.job_name)
    place = place_of_schedule(schedule, job)
    if schedule.execution_timezone is None:
        yield Complaint(place, f"schedule {name}: it has no execution_timezone, so its hours are UTC", "warning")
    try:
        tick = schedule.evaluate_tick(dg.build_schedule_context(repository_def=repository))
        for request in tick.run_requests or ():
            dg.validate_run_config(job, request.run_config)
    except Exception as error:  # noqa: BLE001 - the schedule's own code may raise anything
        yield Complaint(place, f"schedule {name}: {_first_lines(error)}")


def _of_events(repository: dg.RepositoryDefinition, settings: Settings) -> Iterator[Complaint]:
    for sensor in repository.sensor_defs:
        if isinstance(sensor, EventSensor) and (problem := sensor.source.problem(settings)):
            file, _, line = sensor.place.rpartition(":")
            yield Complaint(f"{short(file)}:{line}", f"event {sensor.name}: {problem}")


def _first_lines(error: BaseException) -> str:
    """Return what an error says, in one line: its first three, and the list that the third begins."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = " ".join(lines[:3]) or type(error).__name__
    items = takewhile(lambda line: line.startswith("- "), lines[3:] if told.endswith(":") else ())
    return " ".join([told, "; ".join(item.removeprefix("- ") for item in items)]).strip()
