"""Texts longer than a model's context, read in pieces by models of a script whose tokens are characters."""

import threading
from collections.abc import Iterator, Sequence

import dagster as dg
import pytest

from integrations.errors import InvalidInput, Overloaded, Unavailable
from orchestration.long_texts import AT_ONCE, MOST_PIECES, Task, read
from serving.client import ScriptedModels
from serving.schema import ChatChunk, ChatMessage, ChatRequest

TASK = Task(of_each="Which numbers?", of_all="Put together.", max_tokens=200)
CONTEXT = 2048


class Reader(ScriptedModels):
    """Names the first word of what it is given; counts how many ask at once."""

    def __init__(self, *answers: object) -> None:
        super().__init__(answers, fallback=lambda request: request.messages[-1].content.split()[0][:20])
        self.now = self.most = self.begun = 0
        self.held: threading.Event | None = None
        """Who asks after the first waits for it."""
        self.ops: set[str] = set()
        self._count = threading.Lock()

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return sum(len(message.content) for message in messages)

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        with self._count:
            self.now += 1
            self.most = max(self.most, self.now)
            self.begun += 1
            first = self.begun == 1
        try:
            if self.held is not None and not first:
                self.held.wait(10)
            yield from super().stream(request, timeout_s=timeout_s, traceparent=traceparent)
        finally:
            with self._count:
                self.now -= 1

    def asked(self, prompt: str) -> list[str]:
        return [request.messages[1].content for request in self.requests if request.messages[0].content == prompt]


LONG = " ".join(f"number-{index}." for index in range(1200))


def test_a_text_that_fits_is_asked_about_once():
    reading = read(models := Reader(), TASK, "one two three")

    assert (reading.text, reading.pieces, reading.characters) == ("one", 1, 13)
    assert models.asked(TASK.of_each) == ["one two three"]


def test_a_long_text_is_read_in_pieces_that_fit_and_the_answers_are_put_together():
    told: list[tuple[int, int]] = []

    reading = read(models := Reader(), TASK, LONG, lambda done, of: told.append((done, of)))

    pieces, together = models.asked(TASK.of_each), models.asked(TASK.of_all)
    assert reading.pieces == len(pieces) > 8
    assert all(models.count_tokens(request.messages) + 200 <= CONTEXT for request in models.requests)
    assert set(LONG.split()) <= {word for piece in pieces for word in piece.split()}
    assert together[0].split()[0] == "number-0."
    assert len(together[0].split()) == len(pieces)
    assert told[-2:] == [(len(pieces), len(pieces)), (1, 1)]
    assert reading.characters == len(LONG)


@pytest.mark.parametrize("text", [LONG, "钟声响起" * 2000, "x" * 9000, "一二三。\n\n" * 1500])
def test_each_piece_begins_with_the_end_of_the_one_before(text: str):
    read(models := Reader(), TASK, text)

    pieces = sorted(models.asked(TASK.of_each), key=lambda piece: text.find(piece.partition("\n")[2][:50]))
    assert all(models.count_tokens(request.messages) + 200 <= CONTEXT for request in models.requests)
    assert sum(map(len, pieces)) > 1.05 * len("".join(text.split()))


def test_only_a_few_pieces_are_read_at_once():
    models = Reader()
    models._delay_s = 0.01

    read(models, TASK, LONG)

    assert 1 < models.most <= AT_ONCE
    assert models.now == 0


def test_a_busy_model_is_asked_again():
    reading = read(models := Reader(Overloaded("9 wait", after=0.01), Unavailable("gone", after=0.01)), TASK, "one two")

    assert reading.text == "one"
    assert len(models.requests) == 3


def test_a_failure_ends_the_reading_and_the_pieces_that_wait_are_not_asked_about():
    models = Reader(InvalidInput("That is refused."))
    models.held = threading.Event()

    with pytest.raises(InvalidInput, match="refused"):
        read(models, TASK, LONG)
    models.held.set()

    assert models.begun <= AT_ONCE + 1


def test_who_is_cancelled_leaves_the_pieces_that_are_not_read():
    models = Reader()
    models.held = threading.Event()

    def interrupted(_done: int, _of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(models, TASK, LONG, interrupted)
    models.held.set()

    assert models.begun <= AT_ONCE + 1


def test_more_than_can_be_read_is_read_up_to_a_bound_which_is_told():
    reading = read(models := Reader(), TASK, "word " * 60_000)

    assert len(models.asked(TASK.of_each)) == reading.pieces == MOST_PIECES
    assert 50_000 < reading.characters < 300_000


def test_a_context_without_room_for_a_piece_is_told():
    with pytest.raises(InvalidInput, match="context_tokens"):
        read(Reader(), Task("Which?", "Together.", max_tokens=2000), LONG)


def test_pieces_are_asked_about_in_the_name_of_the_op():
    class Metered(Reader):
        def stream(
            self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
        ) -> Iterator[ChatChunk]:
            self.ops.add(dg.OpExecutionContext.get().op.name)
            return super().stream(request, timeout_s=timeout_s, traceparent=traceparent)

    models = Metered()

    @dg.op
    def condense() -> str:
        return read(models, TASK, LONG).text

    @dg.job
    def reading() -> None:
        condense()

    assert reading.execute_in_process().success
    assert models.ops == {"condense"}
