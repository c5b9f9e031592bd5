"""What a sound workflow would be refused at run time, as far as the settings of now tell it before a run."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from integrations.errors import Forbidden, InvalidInput, RunbellError
from integrations.settings import Settings
from integrations.yaml_lines import read_yaml
from orchestration.actions import Effect, find, prepare, require_allowed
from orchestration.flows.checking import Problem
from orchestration.flows.form import Ask, Form
from orchestration.flows.reading import Place, read_form, told
from orchestration.flows.references import fill, references
from orchestration.flows.schema import arguments_of


def doubts_of(path: Path, settings: Settings) -> list[Place]:
    """Return what of a sound file these settings would refuse for certain. Raises `Unsound` for another."""
    form, _ = read_form(path)
    return told(read_yaml(path), [found for name in form.steps for found in _of_step(form, name, settings)])


def _of_step(form: Form, name: str, settings: Settings) -> Iterator[Problem]:
    step, at = form.steps[name], ("steps", name, form.steps[name].kind)
    if isinstance(step.said, Ask):
        rules = (*step.said.approvers, *step.said.escalate_to)
        if not any(map(settings.access.knows, rules)):
            yield Problem((*at, "approvers"), f"nobody has the {rules[0].replace(':', ' ')}, so nobody can approve")
    if not isinstance(step.said, dict):
        return
    try:
        effect = _effect(step.kind, step.said, settings)
    except RunbellError as error:
        yield Problem(at, str(error))
        return
    if form.effect == "read" and effect not in (None, "read"):
        yield Problem(("effect",), f"the step {name} does more than read: it will be refused; say effect: {effect}")


def _effect(action: str, said: Mapping[str, object], settings: Settings) -> Effect | None:
    """Return what an action does, None where what is filled in decides it. Raises what certainly comes at run time."""
    if not _is_filled(said):
        return prepare(action, said, settings).effect
    require_allowed(action, settings)
    needed = arguments_of(action)["required"]
    sample = {
        name: fill(value, lambda _: "x") for name, value in said.items() if name in needed or not _is_filled(value)
    }
    try:
        return prepare(action, sample, settings).effect
    except (Forbidden, InvalidInput):  # may be the sample's fault; a name that is not there is not
        return _effect_of(action, sample, settings)


def _effect_of(action: str, sample: Mapping[str, object], settings: Settings) -> Effect | None:
    try:
        return find(action).effect(find(action).arguments.model_validate(sample), settings)
    except ValidationError:
        return None


def _is_filled(value: object) -> bool:
    return any(True for _ in references(value))
