"""What models usually take is told before a run, and what they took after it."""

from pathlib import Path

import pytest

from integrations.database import Database
from integrations.database.usage import Asked
from integrations.errors import InvalidInput
from integrations.messages import Address, Principal
from integrations.settings import Settings
from orchestration.actions import prepare
from orchestration.commands.asker import Asker
from orchestration.commands.costs import together, took
from orchestration.commands.publishing import publish
from orchestration.commands.telling import is_stage
from orchestration.terminal.models import _caches, _hits
from orchestration.terminal.parsing import parse_here, preview_here, show_parsed, show_preview
from tests.living import GREET


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    publish(database, "core", [GREET])
    return Settings(home=tmp_path, database={"url": database.url})


def ran(database: Database, run_id: str, *, price: float, job: str = "greet", tenant: str = "default") -> None:
    """A run that asked twice."""
    for _ in range(2):
        database.usage.record(
            tenant=tenant, model="m", job=job, run_id=run_id, tokens_in=100, tokens_out=10, total_ms=1, price=price / 2
        )


def quoted(text: str, settings: Settings, tmp_path: Path) -> str | None:
    return parse_here(text, settings, tmp_path / "none.json").quote


def test_what_a_command_usually_takes_is_the_median_of_its_own_tenants_runs(
    database: Database, settings: Settings, tmp_path: Path
):
    for number, price in enumerate((0.01, 0.02, 0.9)):
        ran(database, f"r{number}", price=price)
    ran(database, "theirs", price=50, tenant="other")
    ran(database, "another", price=50, job="another")

    told = quoted("/greet Ada", settings, tmp_path)

    assert told == (
        "asks models: about 200 tokens read and 20 written, about 0.02 USD (half of its last 3 runs took no more)"
    )


def test_nothing_is_told_where_nothing_is_known_and_no_price_where_there_is_none(
    database: Database, settings: Settings, tmp_path: Path
):
    unknown = quoted("/greet Ada", settings, tmp_path)
    ran(database, "r", price=0, job="assistant")

    assert unknown is None
    assert quoted("what is new?", settings, tmp_path) == (
        "asks models: about 200 tokens read and 20 written (its last run)"
    )
    assert quoted("/help", settings, tmp_path) is None


def test_a_run_is_previewed_with_its_job_and_starts_nothing(
    database: Database, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    ran(database, "r", price=2)

    seen = preview_here("greet", ["name=Ada"], settings, tmp_path / "none.json")
    show_preview(seen, as_json=False)
    show_parsed(seen, as_json=True)

    told = capsys.readouterr().out
    assert "would run /greet name='Ada': job greet of core (write)" in told
    assert "about 2.00 USD" in told
    assert '"quote": "asks models' in told
    with pytest.raises(InvalidInput, match="name"):
        preview_here("greet", [], settings, tmp_path / "none.json")
    with pytest.raises(InvalidInput, match="no command 'gret'"):
        preview_here("gret", [], settings, tmp_path / "none.json")


def test_asking_a_model_is_previewed_with_tokens_and_with_a_price_where_one_is_known(tmp_path: Path):
    file = tmp_path / "models.yaml"
    embedder = "  e: {engine: minilm, capabilities: [embed]}\n"

    def preview(price: str) -> str:
        file.write_text(f"models:\n  m: {{engine: openai, base_url: http://x/v1{price}}}\n{embedder}", encoding="utf-8")
        settings = Settings(home=tmp_path, serving={"models_file": file}, actions={"allow": ["*"]})
        return prepare("ask_model", {"prompt": "a" * 300, "max_tokens": 100}, settings).preview

    assert preview("") == "would ask m with 300 characters: about 104 tokens read, at most 100 written"
    assert preview(", price: {input: 1000, output: 1000}").endswith("at most 100 written, at most about 0.20 USD")


def test_why_tells_price_and_caches():
    who = Principal(id="p", tenant="default", name="Ada", roles=())
    asker = Asker(who, Address(channel="web", conversation="c"), "ada", direct=True, language="en")
    paid = Asked("m", 120, 30, 100, 80.0, 5.0, 0.0042, "USD", None)
    known = Asked("m", 0, 0, 0, 1.0, 1.0, 0.0, "USD", from_cache=True)

    assert took(paid, asker) == (
        "- of that the model m: 80 ms, 120 tokens read (100 of them read before), 30 written, 0.0042 USD"
    )
    assert took(known, asker) == "- known, so that nobody was asked: the answer of m"
    assert together([paid, paid, known], asker) == "- models together: 0.0084 USD"
    assert all(is_stage(line) for line in (took(paid, asker), took(known, asker), together([paid], asker)))


def test_caches_are_told_by_how_often_they_knew(database: Database, settings: Settings, tmp_path: Path):
    call = {"tenant": "default", "model": "m", "total_ms": 1.0}
    database.usage.record(**call, tokens_in=100, tokens_out=5, tokens_cached=60, from_cache=False)
    database.usage.record(**call, tokens_in=0, tokens_out=0, from_cache=True)
    database.workers.beat("w", location="core", pid=1, threads=1, busy=0, texts=(40, 10))

    caches = _caches(settings, tmp_path)

    assert caches is not None
    assert _hits(caches) == "answers 50 % of 2, vectors 25 % of 40, tokens read by m 60 % of 100"
    assert (
        _caches(settings.model_copy(update={"database": settings.database.model_copy(update={"url": None})}), tmp_path)
        is None
    )
