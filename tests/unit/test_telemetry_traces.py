"""Spans and the traceparent that carries them."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator

import pytest

from integrations import telemetry
from integrations.errors import InvalidInput

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_span_is_the_child_of_the_given_traceparent():
    with telemetry.capture() as spans, telemetry.span("think", traceparent=PARENT):
        inside = telemetry.current_traceparent()

    (span,) = spans.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert inside is not None
    assert telemetry.trace_id_of(inside) == telemetry.trace_id_of(PARENT) == "0af7651916cd43dd8448eb211c80319c"


def test_a_span_is_the_child_of_the_one_around_it():
    with telemetry.capture() as spans, telemetry.span("outer"), telemetry.span("inner"):
        pass

    inner, outer = spans.get_finished_spans()
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id


def test_ids_are_handed_out_when_nothing_is_exported():
    with telemetry.span("outer", traceparent=PARENT):
        outer = telemetry.current_traceparent()
        with telemetry.span("inner"):
            inner = telemetry.current_traceparent()

    assert outer != inner
    assert [telemetry.trace_id_of(each or "") for each in (outer, inner)] == [telemetry.trace_id_of(PARENT)] * 2


def test_outside_of_spans_there_is_no_traceparent():
    assert contextvars.Context().run(telemetry.current_traceparent) is None


@pytest.mark.parametrize(
    "bad", ["", "x", PARENT[:-1], PARENT.upper(), f"00-{'0' * 32}-b7ad6b7169203331-01", "00-1-2-3", "\n" * 9]
)
def test_a_malformed_traceparent_begins_a_new_trace(bad: str):
    with telemetry.span("think", traceparent=bad):
        begun = telemetry.current_traceparent()

    assert begun is not None
    with pytest.raises(InvalidInput):
        telemetry.trace_id_of(bad)


def test_new_traceparents_are_valid_and_differ():
    one, other = telemetry.new_traceparent(), telemetry.new_traceparent()

    assert telemetry.trace_id_of(one) != telemetry.trace_id_of(other)


def test_an_exception_is_recorded_without_its_secrets():
    with telemetry.capture() as spans, pytest.raises(ValueError, match="whsec"), telemetry.span("think"):
        raise ValueError("no such secret: whsec_abcdefgh")

    (span,) = spans.get_finished_spans()
    assert not span.status.is_ok
    assert span.events[0].name == "exception"
    assert "whsec_abcdefgh" not in span.to_json()


def test_attributes_carry_neither_secrets_nor_message_text():
    with (
        telemetry.capture() as spans,
        telemetry.span(
            "think",
            model="smollm2",
            tokens=3,
            missing=None,
            text="private",
            url="postgresql://u:pw123@h/d",
            path=[1, 2],
        ),
    ):
        pass

    (span,) = spans.get_finished_spans()
    assert dict(span.attributes or {}) == {
        "model": "smollm2", "tokens": 3, "url": "postgresql://u:[redacted]@h/d", "path": "[1, 2]",
    }  # fmt: skip


def test_threads_get_the_context_they_are_given():
    seen = list[str | None]()

    def work(traceparent: str | None) -> None:
        with telemetry.span("work", traceparent=traceparent):
            seen.append(telemetry.current_traceparent())

    with telemetry.span("outer"):
        mine = telemetry.current_traceparent()
        threads = [threading.Thread(target=work, args=(given,)) for given in (mine, None)]
        for thread in threads:
            thread.start()
            thread.join()

    with_parent, alone = (telemetry.trace_id_of(each or "") for each in seen)
    assert with_parent == telemetry.trace_id_of(mine or "")
    assert alone != with_parent


async def test_tasks_do_not_mix_their_spans():
    async def work() -> tuple[str, str]:
        with telemetry.span("work", traceparent=telemetry.new_traceparent()):
            before = telemetry.current_traceparent()
            await asyncio.sleep(0)
            inside = await asyncio.to_thread(telemetry.current_traceparent)
            return before or "", inside or ""

    pairs = await asyncio.gather(*(work() for _ in range(20)))

    assert all(before == inside for before, inside in pairs)
    assert len({telemetry.trace_id_of(before) for before, _ in pairs}) == 20


def test_a_generator_may_be_closed_in_another_context(caplog: pytest.LogCaptureFixture):
    def stream() -> Iterator[int]:
        with telemetry.span("stream"):
            yield 1

    with telemetry.capture() as spans:
        running = contextvars.Context().run(lambda: _started(stream()))
        running.close()

    assert [span.name for span in spans.get_finished_spans()] == ["stream"]
    assert caplog.text == ""


def test_a_span_costs_microseconds_when_nothing_is_exported():
    def cost() -> float:
        begun = time.thread_time()
        for _ in range(1000):
            with telemetry.span("op", traceparent=PARENT, run_id="x", attempt=1):
                pass
        return (time.thread_time() - begun) / 1000

    assert min(cost() for _ in range(5)) < 80e-6  # 10 µs on an idle machine; CPU time, as others may be busy


def _started(stream: Iterator[int]):
    next(stream)
    return stream
