"""Measuring models: what is tried, what comes out, and that its time is bounded."""

import threading
import time
from pathlib import Path

import pytest

from integrations.errors import InvalidInput, Misconfigured, Overloaded
from orchestration import benching
from orchestration.terminal.bench import draw, table
from serving.client import ScriptedModels
from serving.fleet import Fleet

FLEET = Fleet.model_validate(
    {
        "models": {
            "small": {"engine": "llama_cpp", "context_tokens": 512},
            "e": {"engine": "minilm", "capabilities": ["embed"]},
        }
    }
)


class Crowded(ScriptedModels):
    """Remembers how many asked at once at most."""

    inside, most = 0, 0

    def stream(self, request, *, timeout_s=120.0, traceparent=None):
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            yield from super().stream(request, timeout_s=timeout_s, traceparent=traceparent)
        finally:
            with self._lock:
                self.inside -= 1


def test_what_a_models_context_can_not_hold_is_left_out():
    cells = benching.plan(FLEET, None).cells

    assert {length for _, length in cells} == {32, 256}
    assert (cells[0], cells[-1]) == ((1, 32), (16, 256))  # the cheapest first


@pytest.mark.parametrize("asked", ["e", "other"])
def test_what_does_not_chat_is_refused_with_what_there_is(asked: str):
    with pytest.raises(InvalidInput, match="there is: small"):
        benching.plan(FLEET, asked)


def test_a_prompt_beyond_every_context_is_refused():
    with pytest.raises(InvalidInput, match="context of 512"):
        benching.plan(FLEET, "small", prompts=[4096])


def test_each_cell_asks_as_many_at_once_as_it_says_and_as_nobodys_tenant():
    models = Crowded(fallback=lambda _: "one two three", delay_s=0.005)
    wanted = benching.plan(FLEET, "small", concurrent=[1, 4], prompts=[32], seconds=1)

    measured = benching.measure(models, wanted)
    one, most_of_one = next(measured), models.most
    four, most_of_four = next(measured), models.most

    assert (most_of_one, most_of_four) == (1, 4)
    assert min(one.tokens_per_s, four.tokens_per_s) > 0
    assert one.first_ms_p50 >= 5
    assert {(request.origin.tenant, request.origin.priority) for request in models.requests} == {
        ("(bench)", "backfill")
    }
    texts = [request.messages[0].content for request in models.requests]
    assert len(set(texts)) == len(texts)  # no cache can help
    assert 25 <= len(texts[-1].split()) <= 32


def test_whoever_is_not_done_in_time_is_cut_and_told():
    models = ScriptedModels(fallback=lambda _: "word " * 1000, delay_s=0.05)
    wanted = benching.plan(FLEET, "small", concurrent=[2], prompts=[32], seconds=1, max_tokens=64)

    began = time.monotonic()
    (cell,) = benching.measure(models, wanted)  # 64 words take 3.2 s

    assert (cell.answered, cell.cut) == (0, 2)
    assert cell.tokens_per_s > 0
    assert time.monotonic() - began < 5


def test_what_there_is_no_time_for_is_left_out():
    models = ScriptedModels(fallback=lambda _: "word " * 1000, delay_s=0.05)
    wanted = benching.plan(FLEET, "small", concurrent=[1, 2], prompts=[32], seconds=0.4, max_tokens=64)

    assert len(list(benching.measure(models, wanted))) == 1


def test_whoever_is_turned_away_is_counted_and_waits():
    full = Overloaded("full", after=0.1)
    models = ScriptedModels(["warm"], fallback=lambda _: full)

    (cell,) = benching.measure(models, benching.plan(FLEET, "small", concurrent=[1], prompts=[32], seconds=0.5))

    assert 1 <= cell.refused <= 6
    assert (cell.answered, cell.first_ms_p50) == (0, None)


def test_a_model_that_is_not_there_ends_it_with_its_own_words():
    models = ScriptedModels(["warm"], fallback=lambda _: Misconfigured("pull it"))

    with pytest.raises(Misconfigured, match="pull it"):
        list(benching.measure(models, benching.plan(FLEET, "small", seconds=0.5)))
    assert threading.active_count() < 50


def test_a_table_and_a_picture_show_every_cell(tmp_path: Path):
    cells = [
        benching.Cell(many, length, 1.0, 3, 0, 0, 40.0, None if many == 2 else 100.0, None)
        for length in (32, 256)
        for many in (1, 2)
    ]

    draw("small", cells, tmp_path / "new" / "pace.png")

    assert (tmp_path / "new" / "pace.png").read_bytes().startswith(b"\x89PNG")
    assert table("small", cells).row_count == 4
