"""The catalogue: every job of a code location becomes a command; its config class is the argument list.

A plain Dagster job needs nothing more. What a job lacks is said with `@command` (`orchestration/authoring.py`), which
keeps it in the job's metadata: in metadata and not in tags, because tags are copied onto every run.

An argument that takes the rest of the line is found by itself where there is no doubt: the last required
argument if it is text, or the only text among optional ones if it comes first.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import cast

import dagster as dg
from dagster._config import Field, Shape
from dagster._core.definitions.repository_definition import RepositoryDefinition
from pydantic import ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from integrations.access import Guard, may
from integrations.messages import Principal
from integrations.near import near
from integrations.settings_access import Access
from orchestration.authoring import KEY
from orchestration.commands.policy import Declared, places_of
from orchestration.commands.schemas import ChoicesFailed, Inexpressible, schema_of_type, schemas_of_class
from orchestration.commands.slots import Slot, slots_of
from orchestration.commands.spec import Argument, CommandSpec
from orchestration.commands.values import Schema, without_null
from orchestration.commands.vocabulary import CONTROLS, same_name

log = logging.getLogger(__name__)

MAX_REASON = 300
_SAID_ELSEWHERE = frozenset({"title", "description", "dagster__is_secret", "description_zh"})
PLATFORM_JOBS = frozenset({("core", "assistant")})
"""Jobs that take a message id and must never be started with somebody else's."""


def compile_location(
    repository: RepositoryDefinition, location_name: str, before: Mapping[str, CommandSpec] | None = None
) -> list[CommandSpec]:
    """Return the commands of a code location, by name; a job that can't be one is left out with a logged reason.

    `before` are those of the last time, by job: one whose choices can't be computed now stays as it was.
    """
    specs: list[CommandSpec] = []
    before = before or {}
    for job in sorted(repository.get_all_jobs(), key=lambda job: job.name):
        if job.name.startswith("__") or is_no_command(job) or (location_name, job.name) in PLATFORM_JOBS:
            continue
        try:
            specs.append(compile_job(job, location_name))
        except Inexpressible as reason:
            if isinstance(reason, ChoicesFailed) and job.name in before:
                specs.append(before[job.name].model_copy(update={"stale": str(reason)[:MAX_REASON]}))
            _tell(location_name, job.name, str(reason)[:MAX_REASON])
    return specs


@lru_cache(1000)
def _tell(location: str, job: str, reason: str) -> None:
    """Log, once, why a job is no command, or not the one that it should be."""
    log.warning("a job is no command as it stands", extra={"location": location, "job": job, "reason": reason})


def compile_job(job: dg.JobDefinition, location_name: str) -> CommandSpec:
    """Return the command of one job. Raises `Inexpressible`, saying why, where its config can't be typed."""
    if job.partitions_def is not None:
        raise Inexpressible("it is partitioned: start it from the Dagster UI, which asks for the partition")
    declared = declared_by(job)
    arguments = tuple(_arguments(slots_of(job)))
    _check_places(declared, arguments)
    return CommandSpec.model_validate(
        {
            **dict(declared),
            "name": declared.name or job.name,
            "location": location_name,
            "job": job.name,
            "description": (job.description or "").strip(),
            "arguments": arguments,
            "rest": _rest(arguments, declared.rest),
            "run_config": dict(job.run_config or {}),
        }
    )


def is_no_command(job: dg.JobDefinition) -> bool:
    """Whether `@not_a_command` stands on it."""
    said = job.metadata.get(KEY)
    return said is not None and said.value is False


def guard_of(job: dg.JobDefinition) -> Guard:
    """Return who may start a job; nobody but an administrator where that can't be read."""
    try:
        declared = declared_by(job)
    except Inexpressible:
        return Guard(job.name, ())
    return Guard(declared.name or job.name, declared.allowed)


def time_limit_of(job: dg.JobDefinition) -> timedelta | None:
    """Return how long a run of the job may take, if that is limited."""
    try:
        return declared_by(job).time_limit
    except Inexpressible:
        return None


def declared_by(job: dg.JobDefinition) -> Declared:
    """Return what `@command` says of a job, or the defaults. Raises `Inexpressible` where it was written otherwise."""
    said = job.metadata.get(KEY)
    try:
        return Declared.model_validate(said.value if said is not None else {})
    except ValidationError as error:
        raise Inexpressible(f"its metadata {KEY} was not made by @command: {error}") from error


def unique(specs: Sequence[CommandSpec], taken: Iterable[str]) -> list[CommandSpec]:
    """Leave words that others have to them: such a name becomes LOCATION-NAME, such an alias goes; names come first.

    `taken` are those of other locations; control commands have theirs anyway.
    """
    words = {same_name(word) for word in taken} | {
        same_name(word) for control in CONTROLS for word in (control.name, *control.aliases)
    }
    named: list[CommandSpec] = []
    for spec in specs:
        if same_name(spec.name) in words:
            spec = spec.model_copy(update={"name": f"{spec.location}-{spec.name}"})  # noqa: PLW2901 - it is this one
            log.warning("a command's name is taken", extra={"job": spec.job, "command": spec.name})
        words.add(same_name(spec.name))
        named.append(spec)
    return [_with_free_aliases(spec, words) for spec in named]


def _with_free_aliases(spec: CommandSpec, words: set[str]) -> CommandSpec:
    """Keep the aliases that are not among these words, and add them there."""
    kept: list[str] = []
    for alias in spec.aliases:
        if same_name(alias) in words:
            log.warning("a command's alias is taken", extra={"command": spec.name, "alias": alias})
            continue
        words.add(same_name(alias))
        kept.append(alias)
    return spec if len(kept) == len(spec.aliases) else spec.model_copy(update={"aliases": tuple(kept)})


class Catalogue:
    """All commands of all locations, by name and alias. Immutable; names come before aliases."""

    def __init__(self, specs: Iterable[CommandSpec]) -> None:
        self.specs = tuple(sorted(specs, key=lambda spec: spec.name))
        self._by_word: dict[str, CommandSpec] = {}
        for spec in (*CONTROLS, *self.specs):
            self._by_word.setdefault(same_name(spec.name), spec)
        for spec in (*CONTROLS, *self.specs):
            for alias in spec.aliases:
                self._by_word.setdefault(same_name(alias), spec)

    def find(self, word: str) -> CommandSpec | None:
        """Return the command of this name or alias; case, `-` and `_`, and full-width forms don't matter."""
        return self._by_word.get(same_name(word))

    def of_job(self, location: str, job: str) -> CommandSpec | None:
        """Return the command that starts this job."""
        return next((spec for spec in self.specs if (spec.location, spec.job) == (location, job)), None)

    def for_(self, principal: Principal, access: Access) -> "Catalogue":
        """Return the catalogue of what this principal may run."""
        return Catalogue(spec for spec in self.specs if may(principal, spec, access))

    def nearest(self, word: str) -> str | None:
        """Return the known name or alias that looks most like this one, if any does."""
        names = [name for name, spec in self._by_word.items() if not spec.hidden]
        return next(iter(near(same_name(word), names)), None)

    @property
    def visible(self) -> tuple[CommandSpec, ...]:
        """Commands that are listed and may be proposed."""
        return tuple(spec for spec in self.specs if not spec.hidden)


def _arguments(slots: Sequence[Slot]) -> Iterable[Argument]:
    names = [name for slot in slots for name in _fields(slot)]
    for slot in slots:
        schemas = _schemas(slot)
        for name, field in _fields(slot).items():
            required = field.is_required and not slot.has_default(name)
            try:
                schema_of_type(field.config_type)
                schema = {key: value for key, value in schemas[name].items() if key not in _SAID_ELSEWHERE}
            except (Inexpressible, KeyError) as reason:
                if required:
                    raise Inexpressible(f"{name}: {reason}") from reason
                log.info("an argument can't be typed", extra={"argument": name, "reason": str(reason)})
                continue
            yield Argument(
                name=name if names.count(name) == 1 else f"{slot.label}.{name}",
                path=slot.path_of(name),
                json_schema=schema,
                required=required,
                description=(field.description or "").strip(),
                description_zh=str(schemas[name].get("description_zh", "")).strip(),
                secret=field.is_secret,
            )
            if field.is_secret and without_null(schema).get("type") != "string":
                raise Inexpressible(f"{name}: a secret argument must be a text")


def _fields(slot: Slot) -> dict[str, Field]:
    if slot.whole:
        return {slot.label: slot.field}
    return dict(cast("Shape", slot.field.config_type).fields)


def _schemas(slot: Slot) -> dict[str, Schema]:
    """Pydantic's schemas where there is a config class, since only they know its constraints."""
    if slot.config_class is not None:
        try:
            return schemas_of_class(slot.config_class)
        except PydanticInvalidForJsonSchema as error:
            log.info("a config class has no JSON Schema", extra={"reason": str(error)})
        except Inexpressible:
            raise
        except Exception as error:  # a function of the author's computes the choices
            raise ChoicesFailed(f"its choices can't be computed: {type(error).__name__}: {error}") from error
    found: dict[str, Schema] = {}
    for name, field in _fields(slot).items():
        try:
            default = {"default": field.default_value} if field.default_provided else {}
            found[name] = {**schema_of_type(field.config_type), **default}
        except Inexpressible:
            continue
    return found


def _check_places(declared: Declared, arguments: Sequence[Argument]) -> None:
    """Refuse a concurrency key that names what is no argument, or a secret, which would be seen in it."""
    for place in places_of(declared.concurrency_key or ""):
        found = next((argument for argument in arguments if argument.name == place), None)
        if found is None or found.secret:
            what = "no argument" if found is None else "a secret"
            raise Inexpressible(f"concurrency_key names {place!r}, which is {what}")


def _rest(arguments: Sequence[Argument], named: str | None) -> str | None:
    if named is not None:
        if not any(argument.name == named and argument.is_text for argument in arguments):
            raise Inexpressible(f"rest names {named!r}, which is no text argument")
        return named
    required = [argument for argument in arguments if argument.required]
    if required:
        return required[-1].name if required[-1].is_text else None
    texts = [argument for argument in arguments if argument.is_text]
    return texts[0].name if len(texts) == 1 and arguments[0] is texts[0] else None
