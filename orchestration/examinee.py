"""The assistant as its evaluation asks it (`assets/evaluation.py`): its own way of answering, at temperature 0.

Facts come as recollections, with no memory behind them; nothing is remembered and nobody is written to.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from assets.golden import Case, Known, Reply
from integrations.memory.ranking import cosines
from integrations.memory.values import Recollection
from integrations.messages import Address
from integrations.settings import Settings
from orchestration.commands.retrieval import Retrieval
from orchestration.commands.spec import CommandSpec
from orchestration.ops.answering.deciding import Meant, Mind, think_about
from orchestration.ops.answering.values import Heard, Recalled
from serving import catalogue
from serving.client import Models
from serving.fleet import DEFAULT, Fleet
from serving.schema import ChatChunk, ChatMessage, ChatRequest, ModelInfo

WHO = "evaluation"


class Assistant:
    """Answers cases by what the assistant does with a message. Thread-safe."""

    def __init__(self, models: Models, settings: Settings, fleet: Callable[[], Fleet]) -> None:
        self._models = models
        self._settings = settings
        self._fleet = fleet
        self._retrieval = Retrieval(models.embed, models.unknown_share, models.embedder)

    def version(self) -> dict[str, str]:
        """Tell which models answer and embed now; the fingerprint covers how they are served, and their files."""
        fleet = self._fleet()
        chat = fleet.models[fleet.candidates(DEFAULT)[0]]
        embedder = fleet.models[fleet.embedder]
        files = {
            file.sha256
            for model in catalogue.installed(self._settings.state)
            if model.name in {chat.model, embedder.model}
            for file in model.files.values()
        }
        told = "\n".join((chat.app, embedder.app, *sorted(files)))
        fingerprint = f"{chat.name}@{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        return {"model": chat.name, "engine": chat.engine, "embedder": embedder.name, "fingerprint": fingerprint}

    def reply(self, case: Case, commands: dict[str, Known]) -> Reply:
        """Answer one case."""
        specs = [
            CommandSpec(name=name, location=WHO, job=name, description=known.description, examples=known.examples)
            for name, known in commands.items()
        ]

        def meant(text: str) -> Meant | None:
            found = self._retrieval.find(text, specs)
            return Meant(found.command.name, found.args, found.sure, found.questions) if found else None

        fixed = Repeatable(self._models, self._fleet().candidates(DEFAULT)[0])
        limit = self._settings.serving.request_timeout_s
        mind = Mind(fixed, fixed.describe(), specs, meant, lambda _: None, limit)
        thought = think_about(_heard(case), Recalled(self._passages(case)), mind)
        return Reply(text=thought.text, command=thought.command)

    def _passages(self, case: Case) -> tuple[Recollection, ...]:
        if not case.facts:
            return ()
        question, *facts = self._models.embed([case.text, *case.facts])
        return tuple(
            Recollection(id=str(number), text=text, source=WHO, score=score, at=_NOW, message_id=str(_NOBODY))
            for number, (text, score) in enumerate(zip(case.facts, cosines(question, facts), strict=True))
        )


@dataclass(frozen=True)
class Repeatable:
    """Models of which one answers, without a fallback and without chance."""

    models: Models
    name: str

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        """Ask that model, at temperature 0."""
        request = request.model_copy(update={"model": self.name, "temperature": 0.0})
        return self.models.stream(request, timeout_s=timeout_s, traceparent=traceparent)

    def embed(self, texts: Sequence[str], *, traceparent: str | None = None) -> list[list[float]]:
        """Return one unit vector per text."""
        return self.models.embed(texts, traceparent=traceparent)

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return per text the share of tokens that the embedder does not know."""
        return self.models.unknown_share(texts)

    def embedder(self) -> str:
        """Return the name of the model that embeds now."""
        return self.models.embedder()

    def describe(self) -> ModelInfo:
        """Tell what the model is."""
        return self.models.describe()

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return how much of the context these messages take."""
        return self.models.count_tokens(messages)


_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_NOBODY = uuid.UUID(int=0)


def _heard(case: Case) -> Heard:
    return Heard(
        message_id=str(_NOBODY),
        address=Address(channel="terminal", conversation=WHO),
        principal_id=WHO,
        direct=True,
        text=case.text,
        characters=len(case.text),
        language=case.language,
        accepted_at=_NOW,
    )
