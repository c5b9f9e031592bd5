"""What people type, in English and Chinese, and what becomes of it: a table, and whatever hypothesis thinks of."""

import json
import string
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from integrations.access import Allowed, Refused, may
from integrations.messages import Attachment, Principal
from integrations.settings_access import ADMIN, Access
from orchestration.commands.binding import bind_values
from orchestration.commands.catalogue import Catalogue, compile_location
from orchestration.commands.help import command_line, details, overview
from orchestration.commands.moments import Moment, read_instant
from orchestration.commands.parse import parse, parse_structured
from orchestration.commands.spec import CommandSpec
from tests.typed_jobs import defs

TABLE = json.loads((Path(__file__).parent.parent / "data" / "utterances.json").read_text(encoding="utf-8"))
SPECS = compile_location(defs.get_repository_def(), "typed")
CATALOGUE = Catalogue(SPECS)
MOMENT = Moment(
    now=datetime.fromisoformat(TABLE["said_at"]),
    zone=ZoneInfo(TABLE["zone"]),
    account=TABLE["account"],
    channel="slack",
    files=tuple(Attachment(id=i, name=n, media_type="x/y", size=1) for n, i in TABLE["files"].items()),
)
ACCESS = Access(default=["everyone"], roles={"a": ["slack:U1"]})
people = st.builds(
    Principal,
    id=st.sampled_from(["p1", "p2"]),
    tenant=st.just("t"),
    name=st.just("n"),
    roles=st.sets(st.sampled_from(["user", "a", "b"])).map(tuple),
    groups=st.sets(st.sampled_from(["g", "a"])).map(tuple),
    accounts=st.sets(st.sampled_from(["slack:U1", "web:a"])).map(tuple),
)
rules = st.sets(st.sampled_from(["role:a", "role:b", "group:g", "group:a", "slack:U1", "principal:p1"])).map(tuple)
words = st.text(
    alphabet=st.sampled_from(list(string.printable + "＝：，“”「」退款明天上午九点下周五我😀\u200b")), max_size=60
)


@pytest.mark.parametrize("row", TABLE["utterances"], ids=lambda row: row[0])
def test_an_utterance_is_understood_as_the_table_says(row: list[object]) -> None:
    said, kind, *rest = row
    command, args, wrong = [*rest, None, {}, []][:3] if not rest else [*rest, []][:3]

    parsed = parse(str(said), CATALOGUE, MOMENT)

    assert (parsed.kind, parsed.command) == (kind, command)
    if kind != "free":
        upload = parsed.command == "upload" and wrong == ["file"]
        assert upload or parsed.args == args
        assert [problem.argument for problem in parsed.errors] == wrong
        assert all(problem.message for problem in parsed.errors)


def test_the_table_is_long_enough() -> None:
    assert len(TABLE["utterances"]) >= 60


@given(st.sampled_from(["refund", "退款", "remind", "deploy", "upload", "报表", "nonsense"]), words)
@settings(max_examples=200, deadline=None)
def test_whatever_is_typed_is_understood_or_explained_and_never_raises(name: str, rest: str) -> None:
    parsed = parse(f"/{name} {rest}", CATALOGUE, MOMENT)

    spec = CATALOGUE.find(parsed.command or "")
    if spec is not None and spec.location:
        for key, value in parsed.args.items():
            assert Draft202012Validator(spec.by_name[key].json_schema).is_valid(value)
    for problem in parsed.errors:
        assert 0 <= problem.start <= problem.end
    if parsed.kind == "command" and not parsed.errors:
        assert spec is not None
        assert dg.validate_run_config(defs.resolve_job_def(spec.job), spec.run_config_for(parsed.args))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_command_line_that_is_shown_says_exactly_what_it_shows(data: st.DataObject) -> None:
    texts = st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
    args = {"environment": data.draw(st.sampled_from(["staging", "production"])), "version": data.draw(texts)}
    args |= {"dry_run": data.draw(st.booleans()), "tags": data.draw(st.lists(texts, max_size=3))}
    spec = CATALOGUE.find("deploy")
    assert spec is not None

    parsed = parse(command_line(spec, args), CATALOGUE, MOMENT)

    assert parsed.errors == ()
    assert parsed.args == args


@given(st.sampled_from(TABLE["utterances"]))
@settings(max_examples=80, deadline=None)
def test_what_was_understood_is_understood_again_from_its_canonical_form(row: list[object]) -> None:
    parsed = parse(str(row[0]), CATALOGUE, MOMENT)
    if parsed.kind != "command" or parsed.errors:
        return
    later = Moment(now=datetime.fromisoformat("2031-01-01T00:00:00+00:00"), channel="web")

    again = parse_structured(parsed.command or "", parsed.args, CATALOGUE, moment=later)

    assert (again.args, again.errors) == (parsed.args, ())


@given(people, rules)
def test_who_may_run_a_command_sees_it_in_help_and_nobody_else(who: Principal, allowed: tuple[str, ...]) -> None:
    spec = SPECS[0].model_copy(update={"allowed": allowed})
    decision = may(who, spec, ACCESS)

    mine = {f"role:{role}" for role in who.roles} | {f"group:{group}" for group in who.groups}
    assert bool(decision) == bool({*mine, *who.accounts, f"principal:{who.id}"} & {*allowed})
    shown = overview(Catalogue([spec]).for_(who, ACCESS), "en")
    assert (f"`/{spec.name}`" in shown) == bool(decision)
    if isinstance(decision, Refused):
        assert spec.name in decision.reason
        assert spec.name in decision.reason_zh


def test_an_administrator_may_and_an_unknown_person_may_not() -> None:
    nobody = SPECS[0].model_copy(update={"allowed": ()})
    admin = Principal(id="p", tenant="t", name="n", roles=(ADMIN,))

    assert isinstance(may(admin, nobody, ACCESS), Allowed)
    assert isinstance(may(None, SPECS[0], ACCESS), Refused)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_help_names_every_argument_with_its_form(spec: CommandSpec, language: str) -> None:
    text = details(spec, language)

    assert all(f"- `{argument.name}`" in text for argument in spec.arguments)
    assert "any value" not in text
    assert "任意值" not in text


def test_the_schema_of_arguments_accepts_what_parsing_gives() -> None:
    for row in TABLE["utterances"]:
        parsed = parse(str(row[0]), CATALOGUE, MOMENT)
        if parsed.kind == "command" and not parsed.errors:
            spec = CATALOGUE.find(parsed.command or "")
            assert spec is not None
            Draft202012Validator(spec.schema_of_arguments).validate(parsed.args)


def test_structured_values_are_read_like_typed_ones() -> None:
    spec = CATALOGUE.find("refund")
    assert spec is not None

    args, problems = bind_values(spec, {"order": "17", "amount": "12.50", "on": "明天"}, "en", MOMENT)

    assert (args, problems) == ({"order": 17, "amount": "12.50", "on": "2026-11-26"}, [])


@pytest.mark.parametrize(
    "said",
    ["tomorrow 25:00", "tomorrow 9:75", "yesterday at 25", "tomorrow 13pm", "tomorrow 9", "5 days 25", "12 march 25"],
)
def test_a_time_that_does_not_exist_is_not_taken_for_the_day_before_it(said: str) -> None:
    with pytest.raises(ValueError, match=r"no (such time|day)"):
        read_instant(said, MOMENT)


@pytest.mark.parametrize("said", ["december 24", "tomorrow 0:00", "in 5 days", "9 am tomorrow", "friday"])
def test_a_day_with_a_figure_behind_its_month_stays_a_day(said: str) -> None:
    assert read_instant(said, MOMENT) > MOMENT.now


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("2026-02-30", "there is no such day"),
        ("2月30日", "there is no such day"),
        ("12/1/2026", "day and month may be swapped; write 2026-12-01"),
        ("tomorrow 25:00", "there is no such time of day"),
        ("明天25点", "there is no such time of day"),
    ],
)
def test_a_day_that_can_not_be_is_refused_with_the_reason(typed: str, why: str) -> None:
    (problem,) = parse_structured("remind", {"who": "me", "when": typed, "text": "tea"}, CATALOGUE, "en", MOMENT).errors

    assert problem.message.endswith(f"not {typed!r}: {why}.")
