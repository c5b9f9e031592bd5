"""The example workflows, each run by Dagster in this process."""

import logging
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import httpx
import pytest

from examples.definitions import defs
from examples.health import health
from examples.probing import Finding, expiry_of
from examples.sales import sales
from examples.shop import figures
from examples.summary import summary
from integrations.errors import Unavailable
from integrations.messages import Reply
from orchestration.commands.catalogue import Catalogue, compile_location
from orchestration.commands.parse import parse
from serving.scripted import ScriptedModels

EXAMPLES = Path(__file__).parents[2] / "examples"


class Answers(BaseHTTPRequestHandler):
    """Answers by path: /ok, /broken, /moved, /endless, /stuck."""

    def do_GET(self) -> None:
        if self.path == "/stuck":
            self.server.released.wait(20)  # type: ignore[attr-defined]
            return
        status = {"/ok": 200, "/broken": 503, "/moved": 301, "/endless": 200}[self.path]
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
        self.end_headers()
        try:
            for _ in range(1000 if self.path == "/endless" else 1):
                self.wfile.write(b"x" * 8192)
        except OSError:
            self.server.cut.set()  # type: ignore[attr-defined]

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.released = threading.Event()
    server.cut = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def check(*urls: str, **config) -> str:
    result = health.execute_in_process(run_config={"ops": {"check": {"config": {"urls": list(urls), **config}}}})
    return result.output_for_node("write_health_report")


def test_health_reports_status_and_time_of_each_address(server):
    base = f"http://127.0.0.1:{server.server_port}"

    report = check(f"{base}/ok", f"{base}/broken", f"{base}/moved")

    assert "**2 of 3 up**" in report
    assert re.search(rf"\| ✅ \| `{base}/ok` \| 200 OK \| \d+ ms \|", report)
    assert re.search(rf"\| ❌ \| `{base}/broken` \| 503 Service Unavailable \|", report)
    assert "301 Moved Permanently → http://169.254.169.254/latest/meta-data" in report


def test_health_gives_up_on_what_is_slow_and_stops_reading_what_is_long(server):
    base = f"http://127.0.0.1:{server.server_port}"

    report = check(f"{base}/stuck", f"{base}/endless", timeout_s=1.0)

    assert "no answer in time" in report
    assert f"✅ | `{base}/endless`" in report
    assert server.cut.wait(5)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://example.com", "only http and https"),
        ("http://user:secret@127.0.0.1/", "no user name or password"),
        ("http://169.254.169.254/latest/meta-data", "not a host that may be asked"),
        ("http://[::ffff:169.254.169.254]/", "not a host that may be asked"),
        ("http://[fe80::1]/", "not a host that may be asked"),
        ("http://0.0.0.0/", "not a host that may be asked"),
        ("http://2852039166/", "not"),
        ("", "empty"),
        ("http://" + "a" * 3000, "too long"),
    ],
)
def test_health_does_not_ask_what_it_should_not(url, reason):
    report = check(url)

    assert "**0 of 1 up**" in report
    assert reason in report
    assert "secret" not in report or "user" in url


def test_health_of_this_machine_can_be_forbidden(server, monkeypatch):
    monkeypatch.setenv("EXAMPLES_HEALTH_PUBLIC_ONLY", "1")

    assert "127.0.0.1 is not public" in check(f"http://127.0.0.1:{server.server_port}/ok")


def test_health_of_a_closed_port_and_of_no_host_is_down():
    report = check("http://127.0.0.1:9/", "http://no-such-host.invalid/")

    assert "**0 of 2 up**" in report
    assert "no such host" in report


def summarise(models, **config) -> str:
    run_config = {"ops": {"find_documents": {"config": config}}}
    return summary.execute_in_process(run_config=run_config, resources={"models": models}).output_for_node(
        "write_summary"
    )


def test_summary_quotes_each_document_and_words_a_sentence():
    text = summarise(ScriptedModels(fallback=lambda _: "It is about a nation."))

    assert "**gettysburg-address.txt** — It is about a nation. _(scripted)_" in text
    assert "**declaration.pdf**" in text
    assert "**桃花源记.md**" in text
    quotations = re.findall(r"^> (.+)$", text, re.MULTILINE)
    lincoln = " ".join((EXAMPLES / "documents" / "gettysburg-address.txt").read_text().split())
    assert sum(quotation in lincoln for quotation in quotations) == 2


def test_summary_without_the_model_quotes_and_says_so():
    text = summarise(ScriptedModels(fallback=lambda _: Unavailable("the model is not up")))

    assert "The model could not word a summary (the model is not up)" in text
    assert len(re.findall(r"^> ", text, re.MULTILINE)) == 6


def test_summary_reads_nothing_outside_of_its_folder(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.txt").write_text("the secret of the house")
    (tmp_path / "inside" / "link.txt").symlink_to(tmp_path / "secret.txt")
    monkeypatch.setenv("EXAMPLES_DOCUMENTS", str(tmp_path / "inside"))

    assert "no .txt" in summarise(ScriptedModels())
    for folder in ("..", "../..", "x/../..", "/../"):
        with pytest.raises(dg.Failure, match="outside"):
            summarise(ScriptedModels(), folder=folder)
    with pytest.raises(dg.Failure, match="no folder"):
        summarise(ScriptedModels(), folder="/etc")


def test_summary_says_what_is_wrong_with_a_document(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL, logger="pypdf")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 not really")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.md").write_bytes(bytes(range(256)) * 20)
    monkeypatch.setenv("EXAMPLES_DOCUMENTS", str(tmp_path))

    text = summarise(ScriptedModels())

    assert "**broken.pdf** — ⚠️ it can't be read as PDF" in text
    assert "**empty.txt** — ⚠️ it is empty" in text
    assert "**binary.md**" in text


def test_sales_are_reported_with_a_chart(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNBELL_HOME", str(tmp_path))

    result = sales.execute_in_process(run_config={"ops": {"query_sales": {"config": {"by": "region", "year": 2025}}}})

    reply = result.output_for_node("write_sales_report")
    assert isinstance(reply, Reply)
    assert "**Sales of 2025 by region**" in reply.text
    assert "| Europe |" in reply.text
    (chart,) = reply.files
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert chart.is_relative_to(tmp_path)


def test_sales_of_all_groupings_agree():
    assert len({figures(by, 2026).revenue for by in ("month", "region", "product")}) == 1
    assert figures("month", 2026).revenue > 0


def test_every_example_is_a_command_with_examples_in_both_languages():
    specs = compile_location(defs.get_repository_def(), "examples")

    assert [spec.name for spec in specs] == ["health", "remind", "sales", "summary"]
    assert [[argument.name for argument in spec.arguments] for spec in specs] == [
        ["urls", "timeout_s"],
        ["at", "text"],
        ["by", "year"],
        ["folder", "limit"],
    ]
    for spec in specs:
        assert spec.description
        assert spec.description_zh
        assert len(spec.examples) >= 6
    parsed = parse("/体检 example.com，https://python.org", Catalogue(specs))
    assert parsed.args == {"urls": ["example.com", "https://python.org"]}
    assert parse("/销售 by＝region", Catalogue(specs)).errors == ()


def test_the_workflow_of_the_readme_is_a_command_that_greets():
    block = re.search(r"```python\n(.+?)```", (EXAMPLES / "README.md").read_text(), re.DOTALL)
    scope: dict = {"__name__": "readme"}
    exec(block[1], scope)
    job = scope["greet"]
    catalogue = Catalogue(compile_location(dg.Definitions(jobs=[job]).get_repository_def(), "mine"))

    parsed = parse("/greet Ada Lovelace times=2", catalogue)
    result = job.execute_in_process(run_config=catalogue.find("greet").run_config_for(parsed.args))

    assert result.output_for_node("say_hello") == "Hello Ada Lovelace!\nHello Ada Lovelace!"


class Secured:
    """A network stream whose certificate ends at the given time."""

    def __init__(self, ends: str) -> None:
        self._ends = ends

    def get_extra_info(self, name: str) -> object:
        return self if name == "ssl_object" else None

    def getpeercert(self) -> dict[str, str]:
        return {"notAfter": self._ends}


def test_the_end_of_a_certificate_is_told_and_a_near_one_is_marked():
    response = httpx.Response(200, extensions={"network_stream": Secured("Dec  1 12:00:00 2026 GMT")})
    expires_at = expiry_of(response)
    finding = Finding("https://example.com", up=True, answer="200 OK", expires_at=expires_at)

    assert expires_at == datetime(2026, 12, 1, 12, tzinfo=UTC)
    assert finding.as_row(datetime(2026, 11, 21, tzinfo=UTC)).endswith("| ⚠️ 10 days left |")
    assert finding.as_row(datetime(2026, 8, 1, tzinfo=UTC)).endswith("| 122 days left |")


def test_an_address_whose_certificate_cannot_be_trusted_is_down(server):
    report = check(f"https://127.0.0.1:{server.server_port}/ok")

    assert "**0 of 1 up**" in report
    assert "SSL" in report
