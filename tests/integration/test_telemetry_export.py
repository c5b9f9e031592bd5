"""Spans reach a collector over OTLP/HTTP, and an absent one delays nobody."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROGRAM = """
import sys
from integrations import telemetry
telemetry.setup("gateway", otlp_endpoint=sys.argv[1])
with telemetry.span("receive", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", message_id="m1"):
    pass
"""


class Collector(HTTPServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.received: list[tuple[str, ExportTraceServiceRequest]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever).start()
        yield collector
        collector.shutdown()


def test_spans_of_a_process_that_ends_reach_the_collector(collector: Collector):
    done = _run(collector.url)

    ((path, request),) = collector.received
    (resource,) = request.resource_spans
    (span,) = resource.scope_spans[0].spans
    assert path == "/v1/traces"
    assert {each.key: each.value.string_value for each in resource.resource.attributes}[
        "service.name"
    ] == "runbell-gateway"
    assert (span.name, span.trace_id.hex()) == ("receive", "0af7651916cd43dd8448eb211c80319c")
    assert done.stderr == ""


def test_an_absent_collector_delays_the_end_by_two_seconds_at_most_and_is_told_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        begun = time.monotonic()
        done = _run(f"http://127.0.0.1:{taken.getsockname()[1]}")

    assert done.returncode == 0
    assert time.monotonic() - begun < 10
    assert done.stderr.count("could not be sent") <= 1
    assert all("could not be sent" in line for line in done.stderr.splitlines())


def _run(endpoint: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, endpoint]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
