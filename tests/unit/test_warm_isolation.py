"""What a job may ask for: decisions on its tags and the settings."""

import pytest

from integrations.errors import Misconfigured
from integrations.settings import Isolation as Allowed
from orchestration.warm.isolation import Isolation, asked

ALLOWED = Allowed(cpus=4, gpus=1, memory_megabytes=2_000, environments={"torch": {"pip": ["torch"]}})
RAY = {"runbell/isolation": "ray"}


def test_a_job_without_tags_runs_in_a_warm_worker() -> None:
    assert asked({"team": "tests"}, ALLOWED) == Isolation("warm")


def test_a_job_gets_what_its_tags_ask_for() -> None:
    tags = RAY | {"runbell/cpus": "2", "runbell/gpus": "0.5", "runbell/memory_megabytes": "1000"}

    assert asked(tags | {"runbell/environment": "torch"}, ALLOWED) == Isolation("ray", 2, 0.5, 1_000, "torch")
    assert asked({"runbell/isolation": "process"}, ALLOWED) == Isolation("process")


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"runbell/isolation": "docker"}, "'docker'; it may be warm, process, ray"),
        (RAY | {"runbell/cpus": "5"}, "isolation.cpus allows 4"),
        (RAY | {"runbell/gpus": "many"}, "must be a number"),
        (RAY | {"runbell/memory_megabytes": "-1"}, "must be a number"),
        (RAY | {"runbell/cpus": "inf"}, "must be a number"),
        (RAY | {"runbell/environment": "anything"}, "isolation.environments has no such"),
        ({"runbell/isolation": "process", "runbell/cpus": "2"}, "Only a job whose tag"),
        ({"runbell/gpus": "1"}, "Only a job whose tag"),
    ],
)
def test_what_there_is_not_or_what_is_not_allowed_is_refused_in_words(tags: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        asked(tags, ALLOWED)


def test_a_kind_can_be_forbidden() -> None:
    with pytest.raises(Misconfigured, match=r"isolation\.kinds does not allow"):
        asked(RAY, Allowed(kinds=["process"]))
