"""Talk to the gateway over HTTP, as the command line does. The live chat over WebSocket is `live.py`.

Every call that changes something carries an event id, so it is repeated safely when the connection breaks.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import httpx

from integrations.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    RateLimited,
    Rejected,
    RunbellError,
    Unauthorized,
    Unavailable,
)
from integrations.gateway.installation import is_kept, program
from integrations.gateway.listeners import stranger_at
from integrations.security.tokens import FILE as TOKEN_FILE
from integrations.security.tokens import read_token
from integrations.settings import LOOPBACK

WAIT_S = 25
FIRST_WAIT_S = 2
ACCEPT_S = 15
"""Seconds for which a gateway that can't accept anything, or is being started again, is asked again."""
SETTLED = frozenset({"answered", "failed", "dead"})

Json = Mapping[str, object]
Told = Callable[[Json], None]
_KINDS: dict[int, type[RunbellError]] = {
    400: InvalidInput,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: InvalidInput,
    415: InvalidInput,
    422: InvalidInput,
}


def channel_states(url: str) -> dict[str, Json]:
    """Return how each channel of a running gateway is connected, by name; nothing where none answers."""
    try:
        told: object = httpx.get(f"{url.rstrip('/')}/readyz", timeout=3.0, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return {}
    found = cast("Json", told).get("channels") if isinstance(told, Mapping) else None
    return dict(cast("Mapping[str, Json]", found)) if isinstance(found, Mapping) else {}


class NotUp(Unavailable):
    """Nothing listens where the gateway should be."""

    def __init__(self, *, restarting: bool = False) -> None:
        """Say how to start it; where its supervisor lives, where to look."""
        text = (
            f"Runbell is up, but its gateway does not answer. Look at: {program()} status"
            if restarting
            else f"Runbell is not up. Start it with: make up (or {program()} up)."
        )
        super().__init__(text)
        self.restarting = restarting


class Foreign(NotUp):
    """Something else than Runbell listens where the gateway should be."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__()
        self._found = f"What listens at {url.rstrip('/')} {what}."

    def __str__(self) -> str:
        """Say what was found, how to start Runbell, and who is in its place."""
        return f"{self._found} {super().__str__()} `{program()} doctor` tells who has the port."


def refuse_strangers(url: str, home: Path) -> None:
    """Raise `Foreign` where the token would reach another user of this machine."""
    if user := stranger_at(url, home / TOKEN_FILE):
        raise Foreign(url, f"belongs to another user ({user}): nothing was sent to it")


class Client:
    """The gateway's REST API for one installation; blocking, for one thread."""

    def __init__(
        self, url: str, home: Path, *, sleep: Callable[[float], None] = time.sleep, now: Callable[[], float] = time.time
    ) -> None:
        if not (home / TOKEN_FILE).exists():
            raise NotUp
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {read_token(home)}"},
            timeout=httpx.Timeout(10.0, read=WAIT_S + 20.0),
            trust_env=False,
        )
        self._home = home
        self._sleep = sleep
        self._now = now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def send(
        self, text: str, *, conversation: str | None = None, timeout_s: float = 300.0, waiting: Told = lambda _: None
    ) -> Json:
        """Say something and wait for its end; returns the message's state, unfinished after `timeout_s`.

        `waiting` is told the state of a message that waits for something else than a worker, as often as it is seen.
        """
        if not text.strip():
            raise InvalidInput("There is nothing to send: the text is empty.", field="text")
        body: dict[str, object] = {"text": text}
        if conversation:
            body["conversation"] = conversation

        def is_over(state: Json) -> bool:
            _tell(waiting, state)
            return state.get("status") in SETTLED

        return self._until("/v1/messages", body, timeout_s, is_over)

    def run(self, command: str, args: Json, *, timeout_s: float = 600.0, waiting: Told = lambda _: None) -> Json:
        """Start a command and wait for its end; returns the run's state. `waiting` is told as in `send`."""
        body: dict[str, object] = {"command": command, "args": dict(args)}

        def is_over(state: Json) -> bool:
            message = state.get("message")
            if isinstance(message, Mapping):
                _tell(waiting, cast("Json", message))
            return _run_is_over(state)

        return self._until("/v1/runs", body, timeout_s, is_over)

    def commands(self) -> list[Json]:
        """Return the commands that one may run."""
        return cast("list[Json]", self._patient("GET", "/v1/commands").get("commands", []))

    def session_link(self) -> str:
        """Return a one-time link that opens the chat page."""
        return str(self._patient("POST", "/v1/session-links")["url"])

    def _until(self, path: str, body: dict[str, object], timeout_s: float, is_over: Callable[[Json], bool]) -> Json:
        """Post, and post again under the same event id until the end is reached: each time the gateway waits."""
        body.setdefault("event_id", str(uuid.uuid4()))
        deadline = self._now() + timeout_s
        accepted, wait_s = False, FIRST_WAIT_S
        while True:
            left = deadline - self._now()
            try:
                state = self._call("POST", path, body, wait_s=max(1, min(wait_s, int(left))))
            except (Unavailable, RateLimited, Overloaded) as error:
                # Once accepted it will be answered: a restart of the gateway must not lose it.
                impatient = not accepted and timeout_s - left > ACCEPT_S
                is_down = isinstance(error, NotUp) and not error.restarting
                if left <= 0 or impatient or (is_down and not accepted):
                    raise
                self._sleep(min(error.after, 5.0))
                continue
            accepted = True
            if is_over(state) or left <= wait_s:
                return state
            # Soon at first, so that it is told early what is waited for.
            wait_s = min(wait_s * 2, WAIT_S)

    def _patient(self, method: str, path: str) -> Json:
        """Call; wait for a gateway that its supervisor starts again."""
        deadline = self._now() + ACCEPT_S
        while True:
            try:
                return self._call(method, path)
            except NotUp as error:
                if not error.restarting or self._now() >= deadline:
                    raise
                self._sleep(error.after)

    def _call(self, method: str, path: str, body: Json | None = None, *, wait_s: int | None = None) -> Json:
        headers, url = {"Prefer": f"wait={wait_s}"} if wait_s else {}, str(self._http.base_url)
        refuse_strangers(url, self._home)
        try:
            answer = self._http.request(method, path, json=body, headers=headers)
        except httpx.ConnectError as error:
            raise NotUp(restarting=is_kept(self._home)) from error
        except httpx.HTTPError as error:
            raise Unavailable(f"The gateway broke off: {type(error).__name__}. Try again.") from error
        # Behind a proxy, or while the gateway is started again, others may answer for it.
        if not _is_ours(answer) and answer.url.host in LOOPBACK and not is_kept(self._home):
            raise Foreign(url, f"is not Runbell: it answers {answer.status_code}")
        if answer.is_success:
            return cast("Json", answer.json())
        raise problem(answer)


def _is_ours(answer: httpx.Response) -> bool:
    media_type, _, _ = answer.headers.get("content-type", "").partition(";")
    return media_type == ("application/json" if answer.is_success else "application/problem+json")


def problem(answer: httpx.Response) -> RunbellError:
    """Translate a problem document into one of our errors."""
    try:
        found: object = answer.json()
    except ValueError:
        found = None
    told = cast("Json", found) if isinstance(found, Mapping) else {}
    text = str(told.get("detail") or told.get("title") or f"The gateway answered {answer.status_code}.")
    fields = cast("list[Json]", told.get("errors") or [])
    # The detail of a single fault is that fault.
    for field in fields:
        if str(field.get("detail")) not in text:
            text += f"\n  {field.get('field')}: {field.get('detail')}"
    if answer.status_code == 429:
        return RateLimited(text, after=_after(answer))
    if answer.status_code >= 500:
        return Unavailable(text, after=_after(answer))
    kind = _KINDS.get(answer.status_code, Rejected)
    return InvalidInput(text, field=str(fields[0].get("field"))) if kind is InvalidInput and fields else kind(text)


def _after(answer: httpx.Response) -> float:
    try:
        return float(answer.headers.get("retry-after", "1"))
    except ValueError:
        return 1.0


def _tell(waiting: Told, message: Json) -> None:
    if message.get("waits_for"):
        waiting(message)


def _run_is_over(state: Json) -> bool:
    message = state.get("message")
    if isinstance(message, Mapping):
        return cast("Json", message).get("status") in SETTLED
    return state.get("state") == "finished"
