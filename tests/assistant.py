"""Talks to the job `assistant` as the dispatcher and a worker do: real stores, any models, no processes."""

import itertools
from dataclasses import dataclass, field

import dagster as dg

from integrations.database import Database, MessageView, NewRun
from integrations.memory import Memory
from integrations.messages import Address, InboundMessage, run_id_for
from integrations.settings import Settings
from orchestration.jobs.assistant import assistant
from orchestration.metering import MeteredModels
from orchestration.model_cache import CachingModels
from orchestration.ops.answering.offers import Offers
from serving.client import Models
from serving.models_file import FleetFile

EVENTS = itertools.count()


@dataclass
class Spoken:
    """One message, how its run ended, and what the message looks like afterwards."""

    view: MessageView
    result: dg.ExecuteInProcessResult

    @property
    def text(self) -> str:
        return "\n".join(reply.text for reply in self.view.replies)

    def metadata(self, op: str) -> dict[str, object]:
        """Return what the Dagster UI shows of an op."""
        for event in self.result.events_for_node(op):
            if event.is_successful_output:
                return {name: value.value for name, value in event.step_output_data.metadata.items()}
        raise AssertionError(f"{op} put nothing out")

    @property
    def failure(self) -> str:
        """Return what the failed op tells the user."""
        (event,) = (event for event in self.result.all_events if event.is_step_failure)
        return str(event.step_failure_data.user_failure_data.description)


@dataclass
class Bench:
    """Stores, models and the job between them."""

    database: Database
    memory: Memory
    models: Models
    settings: Settings
    resources: dict[str, object] = field(init=False)

    def __post_init__(self) -> None:
        self.resources = {
            "database": self.database,
            "memory": self.memory,
            "models": MeteredModels(
                self.models, self.database, self.settings.tenant, FleetFile(self.settings.serving).fleet
            ),
            "settings": self.settings,
            "offers": Offers(self.database, self.models, self.settings.access),
        }

    def say(self, text: str, *, account: str = "ada", conversation: str = "c1", direct: bool = True) -> Spoken:
        """Receive a message, claim it, run the job for it, and look at it."""
        address = Address(channel="web", conversation=conversation)
        message = InboundMessage(
            address=address,
            event_id=f"e{next(EVENTS)}",
            account=account,
            account_name=account.title(),
            text=text,
            direct=direct,
        )
        self.database.inbox.receive([message])
        (claimed,) = self.database.inbox.claim("w1")
        principal = self.database.principals.resolve("default", "web", account, name=account.title())
        run = NewRun("core", "assistant", {}, {})
        claim = self.database.inbox.start(claimed, run, principal_id=principal.id, worker="w1")
        assert claim is not None
        result = assistant.execute_in_process(
            run_config={
                "ops": {"receive": {"config": {"message_id": claimed.message_id}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            resources=self.resources,
            run_id=run_id_for(claimed.message_id),
            raise_on_error=False,
        )
        if not result.success:
            # As the worker does: a failed run settles its message, too.
            self.database.inbox.answer(claimed.message_id, [], run_id=claim.run_id)
        self.database.runs.finish(claim)
        view = self.database.inbox.get(claimed.message_id)
        assert view is not None
        return Spoken(view, result)


def cached(models: Models) -> Models:
    """Return the models as a worker has them."""
    return CachingModels(models)
