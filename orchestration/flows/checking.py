"""What is wrong with a workflow beyond the form of its parts: names, references, order, an action's arguments."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from pydantic import ValidationError

from integrations.complaints import in_words
from integrations.durations import parse_duration
from integrations.near import near
from orchestration import actions
from orchestration.flows.arguments import doubt
from orchestration.flows.form import Ask, Form, Wait, When
from orchestration.flows.references import Reference, Where, pieces, read_path, references
from orchestration.flows.schema import arguments_of, is_fixed


@dataclass(frozen=True)
class Problem:
    """Something wrong, and where in the file it stands."""

    where: Where
    text: str


def problems_of(form: Form) -> Iterator[Problem]:
    """Yield what is wrong."""
    for name, argument in form.arguments.items():
        if argument.choices is not None and argument.type != "text":
            yield Problem(("arguments", name, "choices"), "only a text has choices")
        if argument.type == "secret" and (argument.several or argument.default is not None):
            yield Problem(("arguments", name), "a secret is one text without a default")
        if (told := doubt(argument)) is not None:
            yield Problem(("arguments", name), told)
    for name in form.steps:
        yield from _of_step(form, name)
    for number, case in enumerate(form.reply):
        at: Where = ("reply",) if len(form.reply) == 1 and not case.when else ("reply", number, "text")
        yield from _of_texts(form, case.text, at, None)
        yield from _of_condition(form, case.when, ("reply", number, "when"), None)
    yield from _circles(form)


def used_by(form: Form, name: str) -> list[str]:
    """Return the steps whose results a step fills in, in the order of the file: without them it can't be done."""
    said = form.steps[name].said
    plain = said if isinstance(said, dict) else said.model_dump(mode="json", include={*_TEXTS})
    found = {one.name for _, one in references(plain) if isinstance(one, Reference) and one.root == "steps"}
    return [other for other in form.steps if other in found and other != name]


def only_before(form: Form, name: str) -> list[str]:
    """Return the other steps that must be over before a step: those it says, and those its condition looks at."""
    step = form.steps[name]
    seen = {one.name for one in map(read_path, step.when) if one.root == "steps"}
    found = (seen | set(step.needs)) - {name, *used_by(form, name)}
    return [other for other in form.steps if other in found]


def did_you_mean(word: str, known: list[str]) -> str:
    """Return what was perhaps meant, or all that there is."""
    found = near(word, known)
    return f"did you mean {found[0]}?" if found else f"there is {', '.join(known) or 'none'}"


def _of_step(form: Form, name: str) -> Iterator[Problem]:
    step, at = form.steps[name], ("steps", name)
    for number, other in enumerate(step.needs):
        if other == name:
            yield Problem((*at, "needs", number), "a step can't wait for itself")
        elif other not in form.steps:
            text = f"there is no step {other}; {did_you_mean(other, list(form.steps))}"
            yield Problem((*at, "needs", number), text)
    yield from _of_condition(form, step.when, (*at, "when"), name)
    said = step.said
    if isinstance(said, Ask):
        yield from _of_texts(form, said.question, (*at, "approval", "question"), name)
        yield from _of_texts(form, said.details, (*at, "approval", "details"), name)
    elif isinstance(said, Wait):
        yield from _of_wait(form, said, (*at, "wait"), name)
    else:
        found = list(_of_action(form, name, (*at, step.kind)))
        yield from found or _of_values(step.kind, said, (*at, step.kind))


def _of_action(form: Form, name: str, at: Where) -> Iterator[Problem]:
    step = form.steps[name]
    given = cast("dict[str, object]", step.said)
    schema = arguments_of(step.kind)
    known = list(schema["properties"])
    for argument, value in given.items():
        here = (*at, argument)
        if argument not in known:
            yield Problem(here, f"{step.kind} has no argument {argument}; {did_you_mean(argument, known)}")
            continue
        found = list(references(value, here))
        if found and is_fixed(step.kind, argument):
            told = " Give values as parameters: `:name` in the statement." if argument == "statement" else ""
            yield Problem(here, f"{argument} is for you to write: nothing may be filled in there.{told}")
            continue
        yield from _of_texts(form, value, here, name, secrets=True)
        error = best_match(Draft202012Validator(schema["properties"][argument]).iter_errors(cast("Any", value)))
        if error is not None:
            yield Problem((*here, *error.absolute_path), _plain(error))
    missing = [argument for argument in schema["required"] if argument not in given]
    if missing:
        yield Problem(at, f"{step.kind} needs {', '.join(missing)}")


def _of_values(action: str, given: Mapping[str, object], at: Where) -> Iterator[Problem]:
    """Let the action itself look at arguments that nothing is filled into."""
    if any(True for _ in references(given)):
        return
    try:
        actions.find(action).arguments.model_validate(given)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False)[:3]:
            yield Problem((*at, *found["loc"]), in_words(found))


def _of_wait(form: Form, wait: Wait, at: Where, name: str) -> Iterator[Problem]:
    for key, text, read in (
        ("for", wait.length, parse_duration),
        ("until", wait.until, instant),
        ("key", wait.key, str),
    ):
        if text is None:
            continue
        found = list(_of_texts(form, text, (*at, key), name))
        yield from found
        if not found and not any(isinstance(piece, Reference) for piece in pieces(text)):
            try:
                read(text)
            except ValueError as error:
                yield Problem((*at, key), f"{text!r}: {error}")


def instant(text: str) -> datetime:
    """Return an instant as it is written. Raises ValueError where it is none, or has no time zone."""
    found = datetime.fromisoformat(text.strip())
    if found.tzinfo is None:
        raise ValueError("an instant must name its time zone, as in 2026-12-01T09:00:00+08:00")
    return found


def _of_condition(form: Form, when: When, at: Where, step: str | None) -> Iterator[Problem]:
    for path in when:
        yield from _of_reference(form, read_path(path), (*at, path), step, secrets=False)


def _of_texts(form: Form, value: object, at: Where, step: str | None, *, secrets: bool = False) -> Iterator[Problem]:
    for where, found in references(value, at):
        if isinstance(found, str):
            yield Problem(where, found)
        else:
            yield from _of_reference(form, found, where, step, secrets=secrets)


def _of_reference(form: Form, said: Reference, at: Where, step: str | None, *, secrets: bool) -> Iterator[Problem]:
    known = list(form.arguments if said.root == "args" else form.steps)
    if said.name not in known:
        kind = "argument" if said.root == "args" else "step"
        yield Problem(at, f"{said}: there is no {kind} {said.name}; {did_you_mean(said.name, known)}")
    elif said.root == "steps" and said.name == step:
        yield Problem(at, f"{said}: a step can't refer to itself")
    elif said.root == "args" and form.arguments[said.name].type == "secret" and not secrets:
        yield Problem(at, f"{said} is a secret: it may stand in an action's arguments only")


def _circles(form: Form) -> Iterator[Problem]:
    """Find steps that wait for each other."""
    left = {name: {*used_by(form, name), *only_before(form, name)} for name in form.steps}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    if left:
        yield Problem(("steps", next(iter(left))), f"these steps wait for each other: {', '.join(left)}")


_TEXTS = ("question", "details", "length", "until", "key")


def _plain(error: Any) -> str:  # noqa: ANN401 - jsonschema's errors have no types
    """Say without the value what jsonschema found: a value may be long."""
    wanted = error.schema
    if "enum" in wanted:
        return f"must be one of {', '.join(map(str, wanted['enum']))}"
    kinds = [str(kind) for choice in (wanted.get("anyOf") or [wanted]) if (kind := choice.get("type"))]
    if error.validator in ("anyOf", "type") and kinds:
        return f"must be {' or '.join(dict.fromkeys(kinds))}, or a reference alone"
    return str(error.message)[:300]
