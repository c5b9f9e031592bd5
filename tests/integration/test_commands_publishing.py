"""Which location a command's words belong to, with the real database: who had one first keeps it."""

from collections.abc import Sequence

from integrations.database import Database
from orchestration.commands.publishing import load, publish
from orchestration.commands.spec import CommandSpec


def command(location: str, name: str, aliases: Sequence[str] = ()) -> CommandSpec:
    return CommandSpec.model_validate({"name": name, "location": location, "job": name, "aliases": aliases})


def owner(database: Database, word: str) -> str | None:
    found = load(database).find(word)
    return found.location if found is not None else None


def test_a_new_command_takes_no_name_and_no_alias_of_one_that_is_there(database: Database) -> None:
    mine = [command("opsy", "refund", ["back", "退款"])]
    publish(database, "opsy", mine)

    publish(database, "shop", [command("shop", "refund", ["退款", "money"]), command("shop", "back")])
    publish(database, "opsy", mine)

    assert [owner(database, word) for word in ("refund", "back", "退款")] == ["opsy", "opsy", "opsy"]
    assert [owner(database, word) for word in ("shop-refund", "shop-back", "money")] == ["shop", "shop", "shop"]


def test_a_name_is_free_once_its_owner_has_given_it_up(database: Database) -> None:
    publish(database, "opsy", [command("opsy", "refund")])
    publish(database, "shop", [command("shop", "refund")])

    publish(database, "opsy", [command("opsy", "pay_back")])
    publish(database, "shop", [command("shop", "refund")])

    assert owner(database, "refund") == "shop"
    assert owner(database, "shop-refund") is None


def test_of_two_jobs_of_one_location_with_one_name_both_can_be_called(database: Database) -> None:
    second = command("shop", "refund").model_copy(update={"job": "again"})

    publish(database, "shop", [command("shop", "refund"), second])

    assert {spec.name: spec.job for spec in load(database).specs} == {"refund": "refund", "shop-refund": "again"}
