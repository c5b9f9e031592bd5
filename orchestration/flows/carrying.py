"""What the ops of a workflow in YAML do: fill in what is referred to, look at the condition, carry the step out.

What an op puts out is a dict: when it was done, and its result; the first op's holds the arguments instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote

import dagster as dg

from integrations.database import Database
from integrations.errors import Forbidden, InvalidInput, Misconfigured, NotFound, RunbellError
from integrations.memory import Memory
from integrations.settings import Settings
from orchestration.actions import Outcome, Prepared, find, prepare
from orchestration.arguments import length_of
from orchestration.commands.policy import Approval
from orchestration.flows.checking import instant
from orchestration.flows.conditions import holds
from orchestration.flows.form import Ask, Form, Wait
from orchestration.flows.occasion import occasion_of
from orchestration.flows.references import Reference, fill
from orchestration.flows.schema import Schema, is_url
from orchestration.hiding import hidden, hiding
from orchestration.members import as_text, member
from orchestration.sealing import open_sealed
from orchestration.waiting import approved, await_event, sleep_until
from serving.client import Models

SHOWN = 2_000
"""Characters of an outcome that stand in the op's metadata."""
EVENT_TIMEOUT = timedelta(days=1)
_FOR_GOOD = (Forbidden, InvalidInput, Misconfigured, NotFound)
"""What another attempt would meet again, whatever `retries` says."""


@dataclass(frozen=True)
class Parts:
    """What steps use, as ops get it."""

    settings: Settings
    database: Database
    models: Models
    memory: Memory


@dataclass(frozen=True)
class Given:
    """What came before a step: the arguments, and the results of the steps that it needs."""

    args: Mapping[str, object]
    results: Mapping[str, object]
    at: datetime
    """When the last of it was done."""

    @classmethod
    def of(cls, before: Sequence[Mapping[str, Any]]) -> "Given":
        """Gather the outputs of ops, the first of which gave the arguments."""
        results = {one["step"]: one["result"] for one in before[1:]}
        return cls(before[0]["args"], results, max(datetime.fromisoformat(one["at"]) for one in before))

    def look(self, reference: Reference) -> object:
        """Return what a reference leads to. Raises `InvalidInput` where there is nothing."""
        try:
            return member(self.args if reference.root == "args" else self.results, reference.path, in_texts=True)
        except KeyError as error:
            raise InvalidInput(f"{{{{ {reference} }}}} leads nowhere: there is no {error.args[0]}.") from None

    def look_gently(self, reference: Reference) -> object:
        """Return what a reference leads to, None where there is nothing."""
        try:
            return self.look(reference)
        except InvalidInput:
            return None


def take(form: Form, name: str, given: Given, context: dg.OpExecutionContext, parts: Parts) -> Iterator[dg.Output[Any]]:
    """Carry one step out and yield its output; yield nothing where its condition does not hold."""
    step = form.steps[name]
    if not holds(step.when, given.look_gently):
        context.log.info("Left out: its condition does not hold (%s).", ", ".join(step.when))
        return
    said = step.said
    if isinstance(said, Ask):
        result, metadata = _ask(form, said, given)
    elif isinstance(said, Wait):
        result, metadata = _wait(said, given)
    else:
        result, metadata = _act(form, name, given, context, parts)
    yield dg.Output({"step": name, "at": datetime.now(UTC).isoformat(), "result": result}, metadata=metadata)


def reply(form: Form, given: Given) -> str:
    """Return the reply; what was left out is nothing in it."""
    for case in form.reply:
        if holds(case.when, given.look_gently):
            return as_text(fill(case.text, given.look_gently))
    return ""


def _ask(form: Form, said: Ask, given: Given) -> tuple[dict[str, Any], dict[str, Any]]:
    plain = {name: value for name, value in given.args.items() if form.arguments[name].type != "secret"}
    details = cast("dict[str, object]", fill(said.details, given.look)) if said.details else plain
    policy = Approval.model_validate({name: getattr(said, name) for name in Approval.model_fields})
    result, metadata = approved(as_text(fill(said.question, given.look)), policy, details)
    return {"text": f"Approved by {metadata['approved_by']}.", **result}, metadata


def _wait(said: Wait, given: Given) -> tuple[dict[str, Any], dict[str, Any]]:
    if said.event is not None:
        key = None if said.key is None else as_text(fill(said.key, given.look))
        return await_event(said.event, said.timeout or EVENT_TIMEOUT, key), {"event": said.event}
    try:
        if said.length is not None:
            # Counted from what came before: the op runs anew when its time has come.
            until = given.at + length_of(as_text(fill(said.length, given.look)))
        else:
            until = instant(as_text(fill(said.until, given.look)))
    except ValueError as error:
        raise InvalidInput(f"wait: {error}.") from error
    sleep_until(until)
    told = until.astimezone(UTC).isoformat(timespec="seconds")
    return {"text": f"Waited until {told}.", "until": told}, {"until": told}


def _act(
    form: Form, name: str, given: Given, context: dg.OpExecutionContext, parts: Parts
) -> tuple[dict[str, Any], dict[str, Any]]:
    step = form.steps[name]
    secrets: list[str] = []

    def look(reference: Reference) -> object:
        value = given.look(reference)
        if reference.root == "args" and form.arguments[reference.name].type == "secret" and isinstance(value, str):
            value = open_sealed(parts.database, parts.settings, value).get_secret_value()
            secrets.append(value)
        return value

    try:
        prepared = prepare(step.kind, _filled(step.kind, step.said, look), parts.settings)
        _allow(form, name, prepared)
        context.log.info(hidden(f"{prepared.preview} ({prepared.effect})", secrets))
        with hiding(secrets):
            outcome = prepared.carry_out(parts, occasion_of(context, name, parts.database, parts.settings))
    except RunbellError as error:
        # What it was raised from may quote the arguments: with secrets among them, only its own words are kept.
        error.args = (hidden(str(error), secrets),)
        if isinstance(error, _FOR_GOOD):
            raise dg.Failure(str(error), allow_retries=False) from (None if secrets else error)
        raise error from (None if secrets else error.__cause__)
    return _told(prepared, outcome, secrets)


def _told(prepared: Prepared, outcome: Outcome, secrets: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    result = cast("dict[str, Any]", hidden({**outcome.data, "text": outcome.text}, secrets))
    text = result["text"] if len(result["text"]) <= SHOWN else result["text"][:SHOWN] + "…"
    preview = hidden(prepared.preview, secrets)
    return result, {"preview": preview, "effect": prepared.effect, "outcome": dg.MetadataValue.md(text)}


def _allow(form: Form, name: str, prepared: Prepared) -> None:
    """Refuse what does more than the command says it does: its approval and confirmation go by that."""
    if form.effect == "read" and prepared.effect != "read":
        raise Forbidden(
            f"The step {name} would not only read ({prepared.preview}), but /{form.command} says effect: read. "
            f"Write effect: {prepared.effect} in its file."
        )


def _filled(action: str, said: Mapping[str, object], look: Any) -> dict[str, object]:  # noqa: ANN401 - of `fill`
    schemas = cast("dict[str, Schema]", find(action).arguments.model_json_schema()["properties"])
    return {
        name: _fitting(fill(value, look, _in_url) if is_url(action, name) else fill(value, look), schemas[name])
        for name, value in said.items()
    }


def _fitting(value: object, schema: Schema) -> object:
    """Write as text what an action takes as text, say a number in a header."""
    kinds = {choice.get("type") for choice in schema.get("anyOf", [schema])} - {"null"}
    if isinstance(value, dict) and isinstance(inner := schema.get("additionalProperties"), dict):
        return {name: _fitting(item, inner) for name, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list) and isinstance(inner := schema.get("items"), dict):
        return [_fitting(item, inner) for item in cast("list[object]", value)]
    return as_text(value) if kinds == {"string"} and value is not None else value


def _in_url(text: str) -> str:
    if text in (".", ".."):
        raise InvalidInput(f"{text!r} can't be filled into an address: it would lead elsewhere.")
    return quote(text, safe="")
