"""Pieces of answers leave a replica together where there are many, and nothing is lost by it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from integrations.errors import Unavailable
from serving.gathering import Gathering
from serving.schema import ChatChunk, ToolCall, Usage

END = ChatChunk(finish_reason="stop", usage=Usage(tokens_in=1, tokens_out=1, total_ms=1))


class Speaker:
    """Says what is put into its queue."""

    def __init__(self) -> None:
        self.words: asyncio.Queue[ChatChunk | Exception] = asyncio.Queue()
        self.left = False

    async def stream(self) -> AsyncGenerator[ChatChunk]:
        try:
            while True:
                said = await self.words.get()
                if isinstance(said, Exception):
                    raise said
                yield said
                if said.finish_reason:
                    return
        finally:
            self.left = True

    def say(self, *said: str | ChatChunk | Exception) -> None:
        for one in said:
            self.words.put_nowait(ChatChunk(text=one) if isinstance(one, str) else one)


async def test_the_first_word_leaves_at_once() -> None:
    speaker = Speaker()
    async with aclosing(Gathering(per_s=0.001).gathered(speaker.stream())) as pieces:
        speaker.say("one")

        assert (await anext(pieces)).text == "one"


async def test_what_comes_within_the_gap_leaves_together_with_the_end_behind_it() -> None:
    speaker = Speaker()
    async with aclosing(Gathering(per_s=0.001).gathered(speaker.stream())) as pieces:
        speaker.say("one")
        await anext(pieces)
        speaker.say(" two", " three", END)

        rest = [piece async for piece in pieces]

    assert rest == [ChatChunk(text=" two three"), END]


async def test_an_answer_alone_leaves_word_by_word() -> None:
    speaker, pieces = Speaker(), list[ChatChunk]()
    async with aclosing(Gathering(per_s=1e9).gathered(speaker.stream())) as leaving:
        for word in ("one", "two", "three"):
            speaker.say(word)
            pieces.append(await anext(leaving))

    assert [piece.text for piece in pieces] == ["one", "two", "three"]


async def test_the_gap_grows_with_the_answers_under_way() -> None:
    gathering = Gathering(per_s=10)
    many = [gathering.gathered(speaker.stream()) for speaker in _speaking(5)]
    for one in many:
        await anext(one)

    assert gathering.gap_s == 0.5
    for one in many:
        await one.aclose()
    assert gathering.gap_s == 0


def _speaking(count: int) -> list[Speaker]:
    speakers = [Speaker() for _ in range(count)]
    for speaker in speakers:
        speaker.say("word")
    return speakers


async def test_pieces_of_a_tool_call_keep_their_order() -> None:
    speaker = Speaker()
    async with aclosing(Gathering(per_s=0.001).gathered(speaker.stream())) as pieces:
        speaker.say("a")
        await anext(pieces)
        speaker.say(*(ChatChunk(tool_calls=(ToolCall(arguments=part),)) for part in ("{", "}")), END)

        together = await anext(pieces)

    assert [call.arguments for call in together.tool_calls] == ["{", "}"]


async def test_a_failure_comes_after_what_was_said_before_it() -> None:
    speaker, said = Speaker(), list[str]()
    speaker.say("one", " two", Unavailable("gone"))

    async def hear() -> None:
        async for piece in Gathering().gathered(speaker.stream()):
            said.append(piece.text)

    with pytest.raises(Unavailable, match="gone"):
        await hear()
    assert "".join(said) == "one two"


async def test_who_leaves_ends_the_generation() -> None:
    speaker = Speaker()
    pieces = Gathering().gathered(speaker.stream())
    speaker.say("one")
    await anext(pieces)

    await pieces.aclose()

    assert speaker.left
