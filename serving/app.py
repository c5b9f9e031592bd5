"""`python -m serving.app`: deploy the Ray Serve applications on the running Ray, then watch over them.

Settings come from the environment, runbell.toml (`config`) and models.yaml (`models_file`), Ray's address from
RAY_ADDRESS; Ray must require its token. RUNBELL_HOME/run/serving.ready appears when a real completion and a real
embedding worked; RUNBELL_HOME/run/serving.problem holds, in one line for people, why they don't. A missing or corrupt
model is such a problem: the process stays, and is ready as soon as the model is in order. A changed models.yaml is
taken over while requests go on (`switching`). Exits 1 when Serve is gone or can't be started (the supervisor tries
again), 2 when the settings are wrong, 0 after SIGTERM, which stops Serve.
"""

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from integrations import telemetry
from integrations.errors import Misconfigured, RunbellError, Unavailable
from serving.accounts import opening
from serving.config import SERVE_LOGS, Config
from serving.handles import ServeModels, connect
from serving.models_file import read_fleet
from serving.schema import ChatMessage, ChatRequest
from serving.switching import Switching

LOOK_S = 2.0
PROBE_S = 10.0
UNHEALTHY_S = 60.0

_log = logging.getLogger(__name__)


def main(accounts: str | None = None) -> int:
    """Run until SIGTERM, or until Serve is gone; `accounts` names what counts requests over HTTP (`accounts`)."""
    try:
        config = Config()
        switching = Switching(config, read_fleet(config.serving), opening(accounts))
        telemetry.setup("serving", log_level=config.telemetry.log_level, otlp_endpoint=config.telemetry.otlp_endpoint)
        sign = Sign(config.state / "run")
    except (Misconfigured, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        stop = _connect()
        _deploy(config, switching)
        Watch(config, sign, stop, switching).run()
    except RunbellError as error:
        _log.error("Serve is given up: %s", error)
        sign.problem(str(error))
        return 2 if isinstance(error, Misconfigured) else 1
    sign.clear()
    _shut_down()
    return 0


class Sign:
    """The files by which others see whether the models answer."""

    def __init__(self, folder: Path) -> None:
        self._ready, self._problem = folder / "serving.ready", folder / "serving.problem"
        self._about: dict[str, object] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.clear()

    def clear(self) -> None:
        """Say nothing."""
        self._ready.unlink(missing_ok=True)
        self._problem.unlink(missing_ok=True)

    def ready(self, about: Mapping[str, object]) -> None:
        """Say that models answer."""
        self._problem.unlink(missing_ok=True)
        if not self._ready.exists():
            _log.info("The models answer.", extra=about)
        elif about == self._about:
            return
        self._about = dict(about)
        _write(self._ready, json.dumps(about))

    def problem(self, text: str) -> None:
        """Say why they don't."""
        self._ready.unlink(missing_ok=True)
        if not self._problem.exists() or self._problem.read_text(encoding="utf-8") != text:
            _log.error("The models don't answer: %s", text)
            _write(self._problem, text)


class Watch:
    """Looks at Serve every 2 s, asks the models every 10 s, and every 2 s while they don't answer."""

    def __init__(self, config: Config, sign: Sign, stop: threading.Event, switching: Switching) -> None:
        self._config = config
        self._switching = switching
        self._sign = sign
        self._stop = stop
        self._models = ServeModels()
        self._healthy_at = time.monotonic()
        self._probe_at = 0.0
        self._about: dict[str, object] | None = None
        self._patience_s = config.serving.load_timeout_s

    def run(self) -> None:
        """Return when told to stop; raise `Unavailable` when Serve is gone."""
        while not self._stop.wait(LOOK_S if self._probe_at else 0.05):
            self._switching.look(self._models.answers)
            if self._about is not None:
                self._sign.ready(self._about | self._switching.about())
            healthy = self._look()
            if healthy and time.monotonic() >= self._probe_at:
                self._probe()

    def _look(self) -> bool:
        from ray import serve

        try:
            states = {name: str(app.status.value) for name, app in serve.status().applications.items()}
        except Exception as error:
            raise Unavailable(f"Ray Serve is gone ({type(error).__name__}).") from error
        wrong = {name: states.get(name, "missing") for name in self._switching.needed if states.get(name) != "RUNNING"}
        if not wrong:
            self._healthy_at, self._patience_s = time.monotonic(), UNHEALTHY_S
            return True
        if "missing" in wrong.values() or "DEPLOY_FAILED" in wrong.values():
            raise Unavailable(f"Applications of Ray Serve failed: {wrong}. See RUNBELL_HOME/ray/*/logs/serve.")
        if time.monotonic() - self._healthy_at > self._patience_s:
            raise Unavailable(f"Applications of Ray Serve are not running after {self._patience_s:g} s: {wrong}.")
        return False

    def _probe(self) -> None:
        began = time.monotonic()
        try:
            hello = ChatRequest(messages=(ChatMessage(role="user", content="Hello"),), max_tokens=1)
            answer = list(self._models.stream(hello, timeout_s=self._config.serving.request_timeout_s))
            self._models.embed(["Hello"])
            decision = answer[-1].decision
            name = decision.model if decision else "?"
        except RunbellError as error:
            self._sign.problem(str(error))
            self._about = None
            self._probe_at = time.monotonic() + LOOK_S
            return
        _log.debug("probed", extra={"seconds": time.monotonic() - began})
        self._about = {"pid": os.getpid(), "model": name}
        self._sign.ready(self._about | self._switching.about())
        self._probe_at = time.monotonic() + PROBE_S


def _connect() -> threading.Event:
    """Attach to Ray and return the event that SIGTERM and SIGINT set."""
    connect()
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        stop.set()

    # After ray.init, which sets handlers of its own.
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


def _deploy(config: Config, switching: Switching) -> None:
    """Start Serve where it does not run, and bring the applications to what the settings say."""
    from ray import serve

    serving = config.serving
    http = {"host": serving.host, "port": serving.port, "request_timeout_s": serving.request_timeout_s + 5}
    try:
        if not _serve_runs():
            _must_be_free(serving.host, serving.port)
        serve.start(proxy_location="HeadOnly", http_options=http, logging_config=SERVE_LOGS)
        switching.deploy()
    except RunbellError:
        raise
    except Exception as error:
        raise Unavailable(f"Ray Serve can't be started: {error}") from error


def _serve_runs() -> bool:
    """Whether Serve lives in this Ray already: its own proxy holds the port then."""
    from ray.util import list_named_actors

    actors = cast("list[dict[str, str]]", list_named_actors(all_namespaces=True))
    return any(actor["namespace"] == "serve" for actor in actors)


def _must_be_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Misconfigured(f"Port {port} is taken: set RUNBELL_SERVING__PORT to a free one.") from error


def _shut_down() -> None:
    import ray
    from ray import serve

    serve.shutdown()
    ray.shutdown()


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".new")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _told(arguments: list[str]) -> str | None:
    parser = argparse.ArgumentParser(prog="python -m serving.app")
    parser.add_argument("--accounts", metavar="MODULE:FUNCTION", help="who counts requests over HTTP")
    return parser.parse_args(arguments).accounts


if __name__ == "__main__":
    sys.exit(main(_told(sys.argv[1:])))
