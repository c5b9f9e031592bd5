"""Changed code on a real Ray: fresh workers, old ones that go on with what they have, and nothing lost."""

import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress

import pytest
import yaml
from dagster._grpc.client import DagsterGrpcClient

from orchestration.supervise.locations import read_locations
from tests.pools import Shop, alive, ray, shop
from tests.warming import eventually, warm

__all__ = ["ray", "shop", "warm"]
pytestmark = pytest.mark.timeout(300)


def test_new_runs_use_the_edited_code_while_old_ones_end_with_the_code_they_began_with(shop: Shop) -> None:
    with shop.pool():
        (old,) = shop.live()
        running = shop.begun()
        parked = shop.warm.request("parking", location="shop")
        eventually(lambda: shop.warm.queue_state(parked) == "parked", "the run is parked", 60)

        shop.edit('VERSION = "one"', 'VERSION = "two"')
        shop.edit("defs =", "@dg.job\ndef brand_new() -> None:\n    says(first())\n\n\ndefs =")
        shop.edit("jobs=[slow,", "jobs=[brand_new, slow,")

        eventually(lambda: shop.live("leaving"), "the old worker takes nothing new", 90)
        assert shop.said(shop.warm.request("brand_new", location="shop")).startswith("two two")
        assert "brand_new" in {command.name for command in shop.warm.database.commands.all()}
        assert shop.let_go(running) == f"one one {old.pid}"
        eventually(lambda: not alive(old.pid), "the old worker has ended", 60)

        shop.warm.database.events.send("go", parked, {})
        assert shop.said(parked).startswith("two two")
        told = [event.message or "" for event in shop.warm.events(parked) if event.is_engine_event]
        assert [text for text in told if "no worker has" in text and old.version in text]


def test_code_that_does_not_load_leaves_the_old_workers_at_work_until_it_is_repaired(shop: Shop) -> None:
    with shop.pool():
        (old,) = shop.live()
        shop.edit('VERSION = "one"', 'VERSION = "two')
        eventually(lambda: "does not load" in shop.shown().get("problem", ""), "the problem is shown", 90)

        assert "SyntaxError" in shop.shown()["problem"]
        assert shop.quick() == f"one one {old.pid}"
        assert [worker.pid for worker in shop.live()] == [old.pid]

        shop.edit('VERSION = "two', 'VERSION = "three"')
        eventually(lambda: not alive(old.pid), "the old worker has ended", 90)
        assert shop.quick().startswith("three three")
        eventually(lambda: not shop.shown()["problem"], "nothing is shown any more")


def test_the_code_server_and_the_workers_follow_each_other(shop: Shop) -> None:
    with code_server(shop) as server, shop.pool(reload=True):
        (first,), served = shop.live(), server.get_server_id()

        shop.edit('VERSION = "one"', 'VERSION = "two"')
        eventually(lambda: [w for w in shop.live() if w.pid != first.pid], "a worker has the new code", 90)
        eventually(lambda: server.get_server_id() != served, "the code server has loaded the new code", 90)
        (second,) = shop.live()

        server.reload_code(timeout=90)  # what "Reload" in the UI does
        eventually(lambda: [w for w in shop.live() if w.pid != second.pid], "a fresh worker", 90)
        eventually(lambda: not alive(second.pid), "the second worker has ended", 60)


@contextmanager
def code_server(shop: Shop) -> Generator[DagsterGrpcClient]:
    socket = shop.warm.folder / "code.sock"
    (location,) = read_locations(shop.warm.folder / "workspace.yaml")
    served = {"grpc_server": {"socket": str(socket), "location_name": "shop"}}
    (shop.warm.folder / "dagster" / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [served]}))
    process = subprocess.Popen(location.command(socket), env=shop.environment, start_new_session=True)
    client = DagsterGrpcClient(socket=str(socket))

    def answers() -> bool:
        try:
            return bool(client.get_server_id())
        except Exception:
            return False

    try:
        eventually(answers, "the code server answers", 90)
        yield client
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(
            subprocess.TimeoutExpired
        ):  # Dagster's server may hang while it loads; the supervisor kills it too
            process.wait(timeout=10)
        with suppress(ProcessLookupError):  # it ended, with all of its group
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
