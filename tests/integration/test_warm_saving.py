"""What a run does not do: answer twice, or say twice that an op was skipped."""

import dagster as dg
from sqlalchemy import event

from tests.warming import WarmHome, warm

__all__ = ["warm"]


def test_a_run_whose_op_has_answered_does_not_try_to_answer_again(warm: WarmHome) -> None:
    tried: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE runbell.inbox SET state"):
            tried.append(statement)

    event.listen(warm.database.engine, "before_cursor_execute", note)
    try:
        with warm.worker():
            message_id, run_id = warm.message("answering")
            assert warm.ended(run_id) == "SUCCESS"
    finally:
        event.remove(warm.database.engine, "before_cursor_execute", note)

    assert [reply.text for reply in warm.answered(message_id).replies] == ["said by the op"]
    assert tried == []


def test_a_skipped_op_is_one_event_that_says_what_it_lacked(warm: WarmHome) -> None:
    with warm.worker():
        run_id = warm.request("optional")
        warm.ended(run_id)

    (told,) = [entry for entry in warm.instance.all_logs(run_id) if entry.step_key == "after_right"]
    assert told.dagster_event_type is dg.DagsterEventType.STEP_SKIPPED
    assert told.get_dagster_event().message == 'Skipped "after_right": it was not given all that it needs of either.'
