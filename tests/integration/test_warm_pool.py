"""The pool on a real Ray: workers are replaced when they die or are worn, more where work waits, gone at the end."""

import os
import signal
import sys

import pytest

from tests.pools import Shop, alive, ray, shop
from tests.serving import RayHead
from tests.warming import WarmHome, eventually, warm

__all__ = ["ray", "shop", "warm"]
pytestmark = pytest.mark.timeout(300)


def test_a_killed_worker_is_replaced_its_run_taken_over_at_once_and_all_end_in_good_order(shop: Shop) -> None:
    with shop.pool(lease_s=600) as keeper:
        (first,) = shop.live()
        run_id = shop.begun()

        os.kill(first.pid, signal.SIGKILL)

        assert shop.let_go(run_id).startswith("one one")
        (second,) = shop.live()
        assert second.pid != first.pid

        keeper.send_signal(signal.SIGTERM)
        assert keeper.wait(timeout=60) == 0
        eventually(lambda: not alive(second.pid), "the worker has ended", 10)
        assert shop.warm.database.workers.live() == []
    assert '"worker is ready"' in (shop.warm.folder / "logs" / "worker-shop-0.log").read_text()


def test_a_worker_that_has_done_its_share_is_replaced_without_interrupting_a_run(shop: Shop) -> None:
    with shop.pool(recycle_runs=2):
        (first,) = shop.live()
        running = shop.begun()
        assert [shop.quick().endswith(str(first.pid)) for _ in range(2)] == [True, True]

        eventually(lambda: shop.live("leaving"), "a fresh worker takes over", 90)
        assert not shop.quick().endswith(str(first.pid))
        assert alive(first.pid)

        assert shop.let_go(running) == f"one one {first.pid}"
        eventually(lambda: not alive(first.pid), "the worn worker has ended", 60)


def test_workers_come_where_runs_wait_answer_while_all_threads_are_busy_and_go_again(shop: Shop) -> None:
    with shop.pool(min=1, max=2, threads=2, grow_after_s=0.5, shrink_after_s=2):
        begun = [shop.begun() for _ in range(2)]
        waiting = [shop.warm.request("slow", location="shop") for _ in range(4)]
        (first,) = shop.live()

        # A saturated worker answers, or the pool would know neither that it is busy nor that it lives.
        eventually(lambda: shop.shown().get("busy") == 2, "the worker tells that it is busy", 30)
        eventually(lambda: len(shop.live()) == 2, "another worker comes", 90)
        eventually(lambda: shop.shown().get("busy") == 4, "all threads are busy")
        assert shop.shown()["waiting"] == 2
        assert shop.shown()["threads"] == 4
        assert [shop.warm.queue_state(run_id) for run_id in waiting].count("queued") == 2

        said = [shop.let_go(run_id) for run_id in [*begun, *waiting]]
        assert len({text.split()[2] for text in said}) == 2
        eventually(lambda: len(shop.live()) == 1, "one worker goes again", 60)
        assert first.id


def test_a_pool_whose_ray_was_killed_ends_to_meet_the_next_one(warm: WarmHome) -> None:
    head = RayHead()
    try:
        head.start()
        with Shop(warm, head).pool() as keeper:
            for process in reversed(head.processes()):
                process.kill()

            assert keeper.wait(timeout=60) != 0
    finally:
        head.stop()


def test_a_location_and_a_job_get_the_environments_that_they_ask_for(shop: Shop) -> None:
    python = shop.warm.folder / "python"
    python.write_text(f'#!/bin/sh\nSHOP_PYTHON=wrapped exec {sys.executable} "$@"\n')
    python.chmod(0o700)
    shop.write_workspace(executable_path=str(python))
    shop.environment["RUNBELL_ISOLATION__ENVIRONMENTS"] = '{"marked": {"env_vars": {"SHOP_VERSION": "own"}}}'
    shop.edit('VERSION = "one"', 'VERSION = os.environ.get("SHOP_VERSION", os.environ.get("SHOP_PYTHON"))')
    with shop.pool():
        (worker,) = shop.live()
        assert shop.quick() == f"wrapped wrapped {worker.pid}"

        said = shop.said(shop.warm.request("apart", location="shop"))

        assert said.startswith("own own ")
        assert int(said.split()[-1]) != worker.pid
