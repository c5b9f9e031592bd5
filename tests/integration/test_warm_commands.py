"""What `@command` asks of a run, at the moment when a worker carries it out."""

from integrations.messages import MessageStatus
from integrations.settings_access import Access
from orchestration.commands.publishing import load
from orchestration.commands.spec import CommandSpec
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]


def told(warm: WarmHome, message_id: str) -> str:
    view = warm.answered(message_id)
    assert view.status is MessageStatus.FAILED
    return view.replies[0].text


def test_a_run_is_not_made_for_somebody_who_may_not_have_it_any_more(warm: WarmHome) -> None:
    warm.settings.access.roles["finance"] = ["rest:ada"]
    warm.database.principals._access = Access(roles={"finance": ["rest:ada"]})
    with warm.worker():
        _, run_id = warm.message("guarded")
        assert warm.ended(run_id) == "SUCCESS"
        warm.database.principals._access = Access()
        warm.database.principals.refresh()
        message_id, run_id = warm.message("guarded")
        assert "You may not run /guarded; it is for: finance." in told(warm, message_id)
        eventually(lambda: warm.queue_state(run_id) == "finished", "the request leaves the queue")

    assert warm.status(run_id) is None


def test_a_parked_run_does_not_go_on_for_somebody_who_was_disabled_meanwhile(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("approving")
        eventually(lambda: warm.queue_state(run_id) == "parked", "the run waits")
        ada = warm.database.principals.resolve("default", "rest", "ada")
        warm.database.principals.disable(ada.id)
        warm.database.runs.wake(run_id)

        assert warm.ended(run_id) == "FAILURE"

    assert "may not use Runbell any more" in told(warm, message_id)


def test_choices_are_computed_anew_and_stay_while_that_fails(warm: WarmHome) -> None:
    tills = warm.folder / "tills"
    tills.write_text("one two")
    with warm.worker("core", choices_s=0.2):
        before = counting(warm)
        tills.write_text("three")
        eventually(lambda: options(counting(warm)) == ["three"], "the new choices are known")
        tills.unlink()
        eventually(lambda: counting(warm).stale, "that they can't be computed is known")
        failed = counting(warm)
        tills.write_text("four")
        eventually(lambda: options(counting(warm)) == ["four"] and not counting(warm).stale, "all is well again")

    assert options(before) == ["one", "two"]
    assert options(failed) == ["three"]
    assert "its choices can't be computed: FileNotFoundError" in failed.stale


def counting(warm: WarmHome) -> CommandSpec:
    spec = load(warm.database).find("counting")
    assert spec is not None
    return spec


def options(spec: CommandSpec) -> list[str]:
    return spec.arguments[0].options


def test_all_ops_together_may_take_as_long_as_the_command_says(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("limited")

        assert warm.ended(run_id) == "FAILURE"

    assert "took longer than 1.5s, the time_limit of its command" in told(warm, message_id)
    kinds = warm.kinds(run_id)
    assert ("STEP_SUCCESS", "a_second") in kinds
    assert ("STEP_FAILURE", "second") in kinds
    assert ("STEP_START", "third") not in kinds


def test_an_op_that_begins_when_the_time_is_over_says_why_it_failed(warm: WarmHome) -> None:
    with warm.worker():
        for _ in range(5):  # where in the beginning of an op the stop strikes is up to the interpreter
            message_id, run_id = warm.message("hopeless")

            assert warm.ended(run_id) == "FAILURE"
            assert "the time_limit of its command" in told(warm, message_id)
            assert ("STEP_FAILURE", "one") in warm.kinds(run_id)
