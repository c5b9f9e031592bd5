"""Plans whose worker is killed: at each statement on the way of a command of theirs, or while one is approved."""

import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from integrations.messages import MessageStatus
from tests.approvals import person, say
from tests.killing import held_up, is_there, worker
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]

POINTS = {
    "the command is sent": "insert on runbell.inbox when (new.event_id like 'action:%')",
    "the plan parks": "update on runbell.run_queue when (new.state = 'parked' and new.job = 'assistant')",
    "the command is answered": "insert on runbell.outbox when (new.body ->> 'text' like 'shipped%')",
    "its end is told": "insert on runbell.events when (new.name = 'runbell.settled')",
    "the plan goes on": "update on runbell.run_queue when (old.state = 'parked' and new.state = 'running')",
    "the answer is read": "update on runbell.events when (new.name = 'runbell.settled')",
    "the plan is answered": "insert on runbell.outbox when (new.body ->> 'text' like 'I have read%')",
}


class Shop:
    """An HTTP server that counts what it is asked to change."""

    def __init__(self) -> None:
        self.done: list[str] = []
        done = self.done

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                done.append(self.command)
                self.send_response(204)
                self.end_headers()

            do_DELETE = do_POST  # noqa: N815 - the server's names

            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - the server's name

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def shop(warm: WarmHome) -> Iterator[Shop]:
    """A shop that plans may change, and an installation whose assistant does what it is asked."""
    shop = Shop()
    port = shop.server.server_port
    jobs = Path(__file__).with_name("planning_jobs.py")
    load = {"load_from": [{"python_file": {"relative_path": str(jobs), "location_name": "core"}}]}
    (warm.folder / "workspace.yaml").write_text(yaml.safe_dump(load))
    warm.environment |= {
        "PLANNING_TEST_URL": f"http://127.0.0.1:{port}/orders/7",
        "RUNBELL_ACCESS__ROLES": '{"admin": ["rest:ada"]}',
        "RUNBELL_ACTIONS__HTTP": f'{{"private": ["127.0.0.1:{port}"]}}',
        "RUNBELL_PLANS__APPROVAL": '{"approvers": ["manager"]}',
    }
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


def agreed(warm: WarmHome, text: str) -> str:
    """Have a plan made, and say yes to it; return the id of the yes."""
    view = warm.answered(warm.say(text, "c1"))
    assert [choice.label for choice in view.replies[-1].choices] == ["Yes", "No"]
    return warm.say("yes", "c1")


def forget(warm: WarmHome) -> None:
    for dead in warm.database.workers.live():
        warm.database.workers.lost(dead.id)  # as the pool does, instead of waiting for the lease to end


@pytest.mark.parametrize("point", POINTS)
def test_a_command_of_a_plan_runs_once_and_its_answer_is_read_whenever_the_worker_is_killed(
    warm: WarmHome, shop: Shop, point: str
) -> None:
    with held_up(warm, POINTS[point]) as holder, worker(warm, "core") as process:
        yes = agreed(warm, "ship order 7 and pay it")
        eventually(lambda: is_there(holder), f"the worker is at the point: {point}")
        process.kill()
        process.join(10)
    forget(warm)

    with worker(warm, "core"):
        view = warm.answered(yes)

    assert view.status is MessageStatus.ANSWERED
    (reply,) = view.replies
    assert reply.text.startswith("I have read: 2 done")
    assert (warm.folder / "shipped").read_text() == "x"
    assert shop.done == ["POST"]
    said = [entry.text for entry in warm.database.transcript.recent(view.address) if entry.role == "assistant"]
    assert len([text for text in said if text.startswith("shipped by")]) == 1


def test_what_a_plan_destroys_is_approved_after_its_worker_was_killed_and_happens_once(
    warm: WarmHome, shop: Shop
) -> None:
    bob = person(warm.database, "bob", "manager")
    with worker(warm, "core") as process:
        yes = agreed(warm, "remove order 7")
        eventually(lambda: warm.database.approvals.concerning(bob), "an approval is asked for")
        (approval,) = warm.database.approvals.concerning(bob)
        eventually(lambda: warm.queue_state(str(approval.run_id)) == "parked", "the plan is parked")
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
    before = list(shop.done)
    forget(warm)

    first = say(warm.database, approval, bob, reason="it is a double")
    second = say(warm.database, approval, bob)
    with worker(warm, "core"):
        view = warm.answered(yes)
        assert warm.ended(str(approval.run_id)) == "SUCCESS"

    assert before == []
    assert (first.outcome, second.outcome) == ("approved", "over")
    assert shop.done == ["DELETE"]
    (reply,) = view.replies
    assert view.status is MessageStatus.ANSWERED
    assert reply.text.startswith("I have read: 1 done\n\n- ✓ done: http_request")
