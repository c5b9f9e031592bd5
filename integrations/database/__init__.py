"""Tables, migrations, and the stores over them. Rows never leave this package."""

from pathlib import Path

from integrations.database.answer_cache import Answers
from integrations.database.approval_timers import ApprovalTimers
from integrations.database.approvals import Approvals
from integrations.database.catalogue import Commands, Proposals, Workers
from integrations.database.conversation import Transcript
from integrations.database.engine import connect
from integrations.database.events import Events, Wait
from integrations.database.follow_ups import Followed, FollowUps
from integrations.database.growing import GrowingAnswers
from integrations.database.hooked import Hooked
from integrations.database.inbox import Inbox
from integrations.database.installations import Installation, Installations
from integrations.database.linking import Linking
from integrations.database.notify import Listener
from integrations.database.outbox import Outbox
from integrations.database.people import Principals
from integrations.database.progress import Progress
from integrations.database.questions import Questions
from integrations.database.records import (
    AskedCommand,
    ClaimedMessage,
    Demand,
    Entry,
    MessageView,
    NewRun,
    OpState,
    OutboxItem,
    Pending,
    Proposal,
    QueuedRun,
    Received,
    RunClaim,
    ShownForm,
    Snapshot,
    StoredCommand,
    WorkerState,
)
from integrations.database.retention import Keep, Retention
from integrations.database.run_logs import RunLogs
from integrations.database.runs import RunQueue
from integrations.database.schedules import NewSchedule, Schedule, Schedules
from integrations.database.sealed import Sealed
from integrations.database.sent import SentMessages
from integrations.database.spending import Spending
from integrations.database.usage import Usage
from integrations.files import FileStore
from integrations.settings_access import Access

__all__ = [
    "AskedCommand",
    "ClaimedMessage",
    "Database",
    "Demand",
    "Entry",
    "Followed",
    "Installation",
    "Keep",
    "Listener",
    "MessageView",
    "NewRun",
    "NewSchedule",
    "OpState",
    "OutboxItem",
    "Pending",
    "Proposal",
    "QueuedRun",
    "Received",
    "RunClaim",
    "Schedule",
    "ShownForm",
    "Snapshot",
    "StoredCommand",
    "Wait",
    "WorkerState",
]


class Database:
    """All stores over one PostgreSQL database, and the files beside it. One per process; thread-safe; blocks."""

    def __init__(
        self, url: str, *, files: Path, pool_size: int = 16, name: str = "runbell", access: Access | None = None
    ) -> None:
        self.url = url
        self.engine = connect(url, pool_size=pool_size, name=name)
        self._live = connect(url, pool_size=4, durable=False, name=f"{name}-live")
        self.inbox = Inbox(self.engine)
        self.outbox = Outbox(self.engine)
        self.sent = SentMessages(self.engine)
        self.runs = RunQueue(self.engine)
        self.run_logs = RunLogs(self.engine)
        self.follow_ups = FollowUps(self.engine)
        self.events = Events(self.engine)
        self.transcript = Transcript(self.engine)
        self.principals = Principals(self.engine, access)
        self.approvals = Approvals(self.engine, self.principals.now, self.principals.others)
        self.approval_timers = ApprovalTimers(self.engine, self.principals.now)
        self.linking = Linking(self.engine, self.principals.refresh)
        self.commands = Commands(self.engine)
        self.proposals = Proposals(self.engine)
        self.questions = Questions(self.engine)
        self.installations = Installations(self.engine)
        self.hooked = Hooked(self.engine)
        self.schedules = Schedules(self.engine)
        self.sealed = Sealed(self.engine)
        self.workers = Workers(self.engine)
        self.usage = Usage(self._live)
        self.spending = Spending(self._live)
        self.answers = Answers(self.engine)
        self.retention = Retention(self.engine)
        self.progress = Progress(self._live)
        self.growing = GrowingAnswers(self._live)
        self.files = FileStore(files)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self._live.dispose()
