"""What `@command` says of a job, and that it survives until the catalogue is read again."""

from datetime import timedelta

import dagster as dg
import pytest
from pydantic import ValidationError

from integrations.access import meets
from integrations.durations import parse_duration, show_duration
from integrations.messages import Address, Principal
from integrations.settings_access import Access, rule
from orchestration.authoring import Approval, command, not_a_command
from orchestration.commands.catalogue import compile_job, compile_location
from orchestration.commands.spec import CommandSpec


class Refund(dg.Config):
    order: int
    region: str = "EU"


@dg.op
def pay_back(config: Refund) -> str:
    return config.region


APPROVAL = Approval.model_validate(
    {
        "approvers": ["finance", "slack:U1"],
        "expires_after": "3 days",
        "remind_after": "4h",
        "escalate_to": "group:board",
        "escalate_after": timedelta(days=1),
        "reason_required": True,
        "conversation": Address(channel="slack", conversation="T1:C9"),
    }
)


@command(
    "refund",
    aliases=["退款"],
    allowed=["support", "group:eu"],
    effect="destructive",
    approval=APPROVAL,
    max_age="10m",
    late="ignore",
    time_limit="1h",
    concurrency_key="refund-{region}",
    concurrency=2,
    progress="line",
)
@dg.job(tags={"team": "money"})
def refund_order() -> None:
    """Pay an order back."""
    pay_back()


def compiled_after_loading() -> CommandSpec:
    """Go the whole way: definitions, repository, catalogue, the database's JSON and back."""
    repository = dg.Definitions(jobs=[refund_order]).get_repository_def()
    return CommandSpec.model_validate_json(compile_location(repository, "shop")[0].model_dump_json())


def test_all_that_a_decorator_says_reaches_the_stored_catalogue() -> None:
    spec = compiled_after_loading()

    assert (spec.name, spec.job, spec.aliases) == ("refund", "refund_order", ("退款",))
    assert spec.allowed == ("role:support", "group:eu")
    assert (spec.effect, spec.max_age, spec.late) == ("destructive", timedelta(minutes=10), "ignore")
    assert (spec.time_limit, spec.progress) == (timedelta(hours=1), "line")
    assert (spec.concurrency_key, spec.concurrency) == ("refund-{region}", 2)
    assert spec.approval == APPROVAL
    assert spec.approval is not None
    assert spec.approval.approvers == ("role:finance", "slack:U1")


def test_a_decorated_job_is_still_a_plain_job() -> None:
    result = refund_order.execute_in_process(run_config={"ops": {"pay_back": {"config": {"order": 1}}}})

    assert result.output_for_node("pay_back") == "EU"
    assert refund_order.tags["team"] == "money"
    assert refund_order.description == "Pay an order back."


def test_a_job_without_a_decorator_is_a_command_that_writes_and_has_no_limits() -> None:
    @dg.job
    def plain() -> None:
        pay_back()

    spec = compile_job(plain, "shop")

    assert (spec.name, spec.effect, spec.allowed, spec.approval) == ("plain", "write", None, None)
    assert (spec.max_age, spec.time_limit, spec.concurrency_key, spec.hidden) == (None, None, None, False)


def test_a_job_may_be_kept_out_of_the_chat() -> None:
    @not_a_command
    @dg.job
    def inner() -> None:
        pay_back()

    assert compile_location(dg.Definitions(jobs=[inner]).get_repository_def(), "shop") == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"name": "a b"}, "can't be typed"),
        ({"aliases": "/x"}, "can't be typed"),
        ({"allowed": "slack:"}, "names nobody"),
        ({"effect": "writes"}, "effect"),
        ({"max_age": "soon"}, "max_age"),
        ({"time_limit": "0s"}, "longer than nothing"),
        ({"concurrency_key": "{}"}, "concurrency_key"),
        ({"concurrency_key": "{order!r}"}, "concurrency_key"),
        ({"concurrency_key": "{order:>9}"}, "concurrency_key"),
        ({"concurrency": 0}, "concurrency"),
    ],
)
def test_what_can_not_be_meant_is_refused_where_it_is_written(said: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=r"^@command: ") as refused:
        command(**said)  # type: ignore[arg-type]

    assert why in str(refused.value)


def test_a_decorator_stands_above_a_job_only() -> None:
    with pytest.raises(TypeError, match=r"above @dg\.job"):
        command("x")(pay_back)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has one already"):
        command("y")(refund_order)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"approvers": []}, "at least 1"),
        ({"approvers": ["slack:U1"], "count": 2}, "only 1 may"),
        ({"approvers": "a", "expires_after": "1h", "remind_after": "2h"}, "shorter than expires_after"),
        ({"approvers": "a", "escalate_to": "b"}, "go together"),
        ({"aprovers": "a", "approvers": "a"}, "Extra inputs"),
    ],
)
def test_an_approval_that_could_never_be_given_is_refused(said: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Approval.model_validate(said)


def test_settings_give_roles_to_accounts_and_groups() -> None:
    access = Access.model_validate(
        {"roles": {"finance": ["slack:U1", "group:eu"]}, "groups": {"eu": ["telegram:77"]}},
    )

    assert access.groups_of(["telegram:77"]) == ("eu",)
    assert access.roles_of(["telegram:77"], ["eu"]) == ("finance",)
    assert access.roles_of(["slack:U2"], []) == ()


@pytest.mark.parametrize("bad", [{"roles": {"a b": []}}, {"roles": {"a": ["U1"]}}, {"groups": {"a": ["role:b"]}}])
def test_settings_refuse_members_that_nobody_can_be(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Access.model_validate(bad)


@pytest.mark.parametrize(
    ("said", "full"), [("finance", "role:finance"), ("everyone", "everyone"), ("slack:U1", "slack:U1")]
)
def test_a_bare_word_is_a_role(said: str, full: str) -> None:
    assert rule(said) == full


def test_a_rule_is_met_by_role_group_account_or_name() -> None:
    ada = Principal(id="p1", tenant="t", name="Ada", roles=("user",), groups=("eu",), accounts=("slack:U1",))

    met = [rule for rule in ("role:user", "group:eu", "slack:U1", "principal:p1", "everyone") if meets(ada, [rule])]

    assert len(met) == 5
    assert not meets(ada, ["role:eu", "group:user", "telegram:U1", "principal:slack:U1"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("90s", 90), ("1h30m", 5400), ("2 days", 172_800), ("1.5h", 5400), ("3天", 259_200),
        ("半小时", 1800), ("两小时三十分钟", 9000), ("十二天", 1_036_800), ("PT5M", 300), ("p1dt12h", 129_600),
        ("１０分钟", 600), ("1w", 604_800),
        ("", None), ("soon", None), ("5 parsecs", None), ("1h 5", None), ("P", None), ("-5m", None), ("9999d", None),
    ],
)  # fmt: skip
def test_lengths_of_time_are_read_as_people_write_them(text: str, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match=r"."):
            parse_duration(text)
    else:
        assert parse_duration(text).total_seconds() == seconds


def test_a_length_of_time_is_shown_as_it_can_be_typed() -> None:
    for length in (timedelta(days=1, hours=2, minutes=3), timedelta(seconds=0.5), timedelta(0)):
        assert parse_duration(show_duration(length)) == length
