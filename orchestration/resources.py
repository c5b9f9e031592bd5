"""Settings → the plain objects that ops receive, once per process and shared by all runs in its threads.

An op asks for them by name: `database: dg.ResourceParam[Database]`. Nothing is connected before its first use,
so that a code server, which only loads definitions, opens no connection.
"""

import atexit
import logging
import threading
import time

from integrations.database import Database
from integrations.errors import Misconfigured, RunbellError
from integrations.memory import Memory
from integrations.redis_answers import RedisAnswers
from integrations.security.secrets import resolve
from integrations.settings import Settings
from orchestration.answer_cache import Answers, RememberingModels
from orchestration.examinee import Assistant
from orchestration.metering import MeteredModels
from orchestration.model_cache import CachingModels
from orchestration.ops.answering.offers import Offers
from serving.client import Models, ServeModels
from serving.models_file import FleetFile

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_built: dict[str, dict[str, object]] = {}


def build(settings: Settings, *, models: Models | None = None) -> dict[str, object]:
    """Return `settings`, `database`, `models`, `memory`, `offers` and `examinee`; equal settings get the same again.

    The models are those of Ray Serve, unless the first caller brings others. Raises `Misconfigured` where there
    is no database.
    """
    key = settings.model_dump_json()
    with _lock:
        if key not in _built:
            _built[key] = _build(settings, models or ServeModels())
        return dict(_built[key])


def warm_up(resources: dict[str, object]) -> None:
    """Import, connect and compute once, so that the first message need not wait for it; an outage is only logged."""
    began = time.monotonic()
    models, memory, database = resources["models"], resources["memory"], resources["database"]
    assert isinstance(models, CachingModels)
    assert isinstance(memory, Memory)
    assert isinstance(database, Database)
    for work in (database.commands.all, memory.healthy, models.describe, lambda: models.embed(["warm"])):
        try:
            work()
        except RunbellError as error:
            _log.warning("not warm yet: %s", error)
    _log.info("warm", extra={"milliseconds": round((time.monotonic() - began) * 1000)})


def _build(settings: Settings, asked: Models) -> dict[str, object]:
    if settings.database.url is None:
        raise Misconfigured("There is no database: run `runbell up`, or set RUNBELL_DATABASE__URL to postgresql://…")
    url = resolve(settings.database.url, name="database.url").get_secret_value()
    database = Database(
        url, files=settings.state / "files", pool_size=settings.database.pool_size, access=settings.access
    )
    file = FleetFile(settings.serving)
    remembering = RememberingModels(asked, _answers(settings, database), settings.tenant, file.fleet)
    metered = MeteredModels(remembering, database, settings.tenant, file.fleet)
    models = CachingModels(metered)
    memory = Memory(settings.memory, models.embed, models.unknown_share, embedder=models.embedder)
    for close in (database.close, memory.close, *([asked.close] if isinstance(asked, ServeModels) else [])):
        atexit.register(close)
    return {
        "settings": settings,
        "database": database,
        "models": models,
        "memory": memory,
        "offers": Offers(database, models, settings.access),
        "examinee": Assistant(models, settings, file.fleet),
    }


def _answers(settings: Settings, database: Database) -> Answers:
    """Return where models' answers are kept: in Redis where one is named."""
    if settings.cache.url is None:
        return database.answers
    answers = RedisAnswers(resolve(settings.cache.url, name="cache.url"))
    atexit.register(answers.close)
    return answers
