"""Answers of models that may be given again, in Redis; in PostgreSQL, as long and as many: `database.answer_cache`.

A cache is worth no waiting: where Redis does not answer within half a second it is left alone for ten.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from integrations.database import answer_cache
from integrations.errors import Misconfigured, Unavailable

TIMEOUT_S = 0.5
REST_S = 10.0
ORDER_S = 2_592_000  # as long as an answer may be kept (`Route.cache_s`)


class RedisAnswers:
    """Exact questions and their answers. Thread-safe; nothing is connected before its first use."""

    def __init__(self, url: SecretStr, clock: Callable[[], float] = time.monotonic) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            self._redis: Any = redis.Redis.from_url(
                url.get_secret_value(),
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                max_connections=64,
                retry=Retry(NoBackoff(), 0),
            )
        except (ValueError, TypeError) as error:
            raise Misconfigured(
                "cache.url is no address of Redis: write redis://HOST:PORT/0, rediss://… or unix://…"
            ) from error
        self._errors = (redis.RedisError, OSError)
        self._clock = clock
        self._rests_until = 0.0

    def get(self, tenant: str, digest: str, now: datetime) -> tuple[str, str] | None:
        """Return an answer's model and text. Raises `Unavailable`."""
        raw = self._ask(lambda: self._redis.get(_key(tenant, digest)))
        try:
            kept: dict[str, Any] = json.loads(raw or b"{}")
            fresh = kept.get("expires_at", 0.0) > now.timestamp()
            return (str(kept["model"]), str(kept["text"])) if fresh else None
        except (ValueError, TypeError, KeyError, AttributeError):
            return None  # somebody else's

    def put(self, tenant: str, digest: str, model: str, text: str, expires_at: datetime) -> None:
        """Keep an answer in place of an older one; what is too long is not kept. Raises `Unavailable`."""
        ms = round((expires_at - datetime.now(UTC)).total_seconds() * 1000)
        if len(text) > answer_cache.LONGEST or ms <= 0:
            return
        kept = json.dumps({"model": model, "text": text, "expires_at": expires_at.timestamp()})
        self._ask(lambda: self._put(tenant, digest, kept, ms))

    def _put(self, tenant: str, digest: str, kept: str, ms: int) -> None:
        order = f"runbell:answers:{tenant}"
        with self._redis.pipeline() as together:
            together.set(_key(tenant, digest), kept, px=ms)
            together.zadd(order, {digest: time.time()})
            together.zrange(order, 0, -answer_cache.MOST - 1)
            together.zremrangebyrank(order, 0, -answer_cache.MOST - 1)
            together.expire(order, ORDER_S)
            oldest = together.execute()[2]
        if oldest:
            self._redis.unlink(*(_key(tenant, old.decode()) for old in oldest))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _ask(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - the library's answers
        if self._clock() < self._rests_until:
            raise Unavailable("Redis (cache.url) does not answer.", after=REST_S)
        try:
            return call()
        except self._errors as error:
            self._rests_until = self._clock() + REST_S
            raise Unavailable(f"Redis (cache.url) does not answer: {type(error).__name__}.", after=REST_S) from error


def _key(tenant: str, digest: str) -> str:
    return f"runbell:answer:{tenant}:{digest}"
