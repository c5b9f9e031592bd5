"""The stop switch: it cuts into an op's own code, and never into bookkeeping."""

import threading
import time
from collections.abc import Callable

import pytest

from orchestration.warm import interrupt as module
from orchestration.warm.internals import DagsterExecutionInterruptedError
from orchestration.warm.interrupt import Interrupt, Reason, interruptible, shielded


def spin() -> None:
    """Keep Python busy for ever."""
    while True:
        sum(range(100))


def stopped(block: Callable[[Interrupt], None], *, after_s: float = 0.05) -> tuple[bool, float]:
    """Run a block in a thread, stop it, and tell whether it was interrupted and after how many seconds."""
    result: list[tuple[bool, float]] = []
    ready = threading.Event()
    switches: list[Interrupt] = []

    def work() -> None:
        began = time.monotonic()
        with interruptible() as interrupt:
            switches.append(interrupt)
            ready.set()
            try:
                block(interrupt)
            except DagsterExecutionInterruptedError:
                result.append((True, time.monotonic() - began))
            else:
                result.append((False, time.monotonic() - began))

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    time.sleep(after_s)
    switches[0].request(Reason.CANCEL)
    thread.join(timeout=20)
    return result[0]


def test_python_code_of_an_op_is_cut_short() -> None:
    def spin(interrupt: Interrupt) -> None:
        with interrupt.exposed():
            while True:
                sum(range(100))

    cut, took = stopped(spin)

    assert cut
    assert took < 5


def test_a_sleeping_op_is_woken() -> None:
    def nap(interrupt: Interrupt) -> None:
        with interrupt.exposed():
            module.sleep(30)

    cut, took = stopped(nap)

    assert cut
    assert took < 5


def test_bookkeeping_is_kept_whole_and_the_stop_comes_after_it() -> None:
    kept: list[str] = []

    def block(interrupt: Interrupt) -> None:
        with interrupt.exposed():
            with shielded():
                until = time.monotonic() + 0.3
                while time.monotonic() < until:
                    sum(range(100))
                kept.append("whole")
            kept.append("too far")

    cut, _ = stopped(block)

    assert cut
    assert kept == ["whole"]


def test_outside_of_ops_nothing_is_cut() -> None:
    def block(interrupt: Interrupt) -> None:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            sum(range(100))

    assert not stopped(block)[0]


def test_waiting_ends_with_the_stop() -> None:
    cut, took = stopped(lambda interrupt: interrupt.wait(30))

    assert cut
    assert took < 5


def test_a_stop_that_came_before_is_raised_on_entry() -> None:
    with interruptible() as interrupt:
        interrupt.request(Reason.DRAIN)
        with pytest.raises(DagsterExecutionInterruptedError), interrupt.exposed():
            spin()


def test_a_lost_lease_trumps_other_reasons() -> None:
    with interruptible() as interrupt:
        interrupt.request(Reason.CANCEL)
        interrupt.request(Reason.DRAIN)
        assert interrupt.reason is Reason.CANCEL
        interrupt.request(Reason.LOST)
        assert interrupt.reason is Reason.LOST


def test_other_threads_sleep_as_ever() -> None:
    began = time.monotonic()
    module.sleep(0.01)
    with shielded():
        pass

    assert time.monotonic() - began >= 0.01
