"""Schedules are switched on and off in Dagster's own storage, in PostgreSQL, beside the daemon that notes its ticks."""

import dagster._daemon  # noqa: F401 - before its scheduler, which imports it in a circle
from dagster._scheduler.scheduler import _write_and_get_next_checkpoint_timestamp as note_iteration

from orchestration.warm.clockwork import Clockwork
from tests.warming import WarmHome, warm

__all__ = ["warm"]
NAME, CRON = "greet_1", "0 9 * * *"


def test_what_is_switched_off_during_a_tick_stays_off_when_the_daemon_notes_the_tick(warm: WarmHome) -> None:
    clockwork = Clockwork(warm.instance, warm.settings, lambda: 1_000.0)
    clockwork.on(NAME, CRON)
    (seen,) = warm.instance.all_instigator_state()
    on_since = clockwork.since(NAME)

    clockwork.off(NAME, CRON)
    note_iteration(warm.instance, seen, seen.instigator_data, 2_000.0)
    during = clockwork.since(NAME)
    clockwork.on(NAME, CRON)
    (again,) = warm.instance.all_instigator_state()
    note_iteration(warm.instance, again, again.instigator_data, 3_000.0)

    assert on_since == 1_000.0
    assert during is None
    assert clockwork.running([NAME]) == {NAME}


def test_the_ui_and_the_chat_switch_the_same(warm: WarmHome) -> None:
    clockwork = Clockwork(warm.instance, warm.settings)
    clockwork.on(NAME, CRON)
    (state,) = warm.instance.all_instigator_state()

    warm.instance.stop_schedule(state.instigator_origin_id, state.selector_id, None)
    stopped = clockwork.since(NAME)
    note_iteration(warm.instance, state, state.instigator_data, 2_000.0)

    assert stopped is None
    assert clockwork.since(NAME) is None
    clockwork.forget(NAME)
    assert list(warm.instance.all_instigator_state()) == []
