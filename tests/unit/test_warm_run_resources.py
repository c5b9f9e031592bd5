"""Resources that are there already are handed out without making anything for a run."""

from collections.abc import Iterator
from contextlib import ContextDecorator

import dagster as dg
import pytest

from orchestration.warm.run_resources import SharedResources, values_at_hand


class Tool:
    pass


class Settings(dg.ConfigurableResource):
    name: str = "n"


@dg.resource
def made(_: dg.InitResourceContext) -> Iterator[str]:
    yield "made"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as instance:
        yield instance


def definitions_of(resources: dict[str, object]) -> dict[str, dg.ResourceDefinition]:
    """Return what Dagster makes of the resources of a code location."""

    @dg.op(required_resource_keys=set(resources))
    def needing() -> None: ...

    @dg.job
    def needy() -> None:
        needing()

    defs = dg.Definitions(jobs=[needy], resources=resources)
    return dict(defs.get_repository_def().get_job("needy").get_required_resource_defs())


def test_any_object_of_a_code_location_is_at_hand(instance: dg.DagsterInstance) -> None:
    tool = Tool()

    values = values_at_hand(definitions_of({"tool": tool, "number": 7}), {"tool", "number"}, instance)

    assert values == {"tool": tool, "number": 7}


class Entered(ContextDecorator):
    def __enter__(self) -> str:
        return "entered"

    def __exit__(self, *_: object) -> None:
        return None


@pytest.mark.parametrize(
    "resource", [made, Settings(), Entered()], ids=["a function", "a configurable object", "what is entered"]
)
def test_what_is_made_for_each_run_is_left_to_dagster(instance: dg.DagsterInstance, resource: object) -> None:
    definitions = definitions_of({"tool": Tool(), "made": resource})

    assert values_at_hand(definitions, {"tool", "made"}, instance) is None
    assert values_at_hand(definitions, {"tool"}, instance) is not None


def test_ops_see_what_they_need_and_nothing_else() -> None:
    tool = Tool()

    resources = SharedResources({"tool": tool, "secret": "s"}).build({"tool", "never set up"})

    assert resources.tool is tool
    assert list(resources) == [tool]
    assert resources.original_resource_dict == {"tool": tool}
    for name in ("secret", "never set up"):
        with pytest.raises(dg.DagsterUnknownResourceError):
            getattr(resources, name)


def test_ops_with_the_same_needs_share_an_object_and_no_class_is_made() -> None:
    shared = SharedResources({"tool": Tool(), "other": 1})

    one, same, different = shared.build({"tool"}), shared.build({"tool"}), shared.build({"other"})

    assert one is same
    assert type(one) is type(different)


def test_a_generators_resources_are_marked_as_dagster_marks_them() -> None:
    from dagster._core.definitions.scoped_resources_builder import IContainsGenerator

    resources = SharedResources({"made": "made"}, contains_generator=True).build({"made"})

    assert isinstance(resources, IContainsGenerator)
    assert resources.made == "made"
