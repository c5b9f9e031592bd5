"""The way out of every channel: degrading, splitting, pacing, streaming, buttons. On a fake clock, no network."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import iter_graphemes

from integrations.channels import Capabilities, Rate, Receive
from integrations.channels.buttons import MAX_TOKEN, Buttons
from integrations.channels.degrade import chosen, fit
from integrations.channels.outbound import Outbound
from integrations.channels.pace import Pace
from integrations.channels.split import split
from integrations.channels.stream import EditedStream, Throttle
from integrations.errors import Forbidden, RateLimited, Rejected, Unauthorized, Unavailable
from integrations.files import FileStore
from integrations.messages import (
    Address,
    Attachment,
    Card,
    Choice,
    Delivery,
    Field,
    Form,
    OutboundMessage,
    Question,
    Step,
)

HERE = Address(channel="im", conversation="c1")
THERE = Address(channel="im", conversation="c2")
CHOICES = (Choice(label="Approve", text="/approve 12"), Choice(label="Deny", text="/deny 12"))
CARD = Card(
    title="refund",
    state="running",
    fields=(Field(name="order", value="A-1"),),
    steps=(Step(name="receive", state="succeeded", ms=40), Step(name="act", state="running")),
    url="http://127.0.0.1:3000/runs/1",
)
FORM = Form(
    title="Refund",
    command="refund",
    args={"note": "as agreed"},
    questions=(Question(name="order", label="Order"), Question(name="days", label="Days", required=False)),
)
FILE = Attachment(id="0" * 64, name="plan.png", media_type="image/png", size=2048)
TEXT_ONLY = Capabilities(max_text=100)


def saying(text: str = "hello", **more: object) -> OutboundMessage:
    return OutboundMessage.model_validate({"address": HERE, "text": text, **more})


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


class Scripted:
    """A channel that can edit, and ends each attempt as its script says."""

    name = "im"
    repeatable = False

    def __init__(self, capabilities: Capabilities, *script: Exception | Delivery) -> None:
        self.capabilities = capabilities
        self.script = list(script)
        self.shown: list[tuple[str | None, str]] = []

    async def listen(self, receive: Receive) -> None:
        """Nothing comes in."""

    async def send(self, message: OutboundMessage) -> Delivery:
        return self._show(None, message)

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery:
        return self._show(platform_id, message)

    def _show(self, platform_id: str | None, message: OutboundMessage) -> Delivery:
        outcome = self.script.pop(0) if self.script else Delivery(state="sent", platform_id=platform_id)
        if isinstance(outcome, Exception):
            raise outcome
        self.shown.append((platform_id, message.text))
        if outcome.state == "sent" and outcome.platform_id is None:
            return outcome.model_copy(update={"platform_id": f"p{len(self.shown)}"})
        return outcome


# Degrading


def test_a_channel_that_shows_all_gets_the_message_as_it_is() -> None:
    can = Capabilities(markdown=True, buttons=True, cards=True, forms=True, files=True, pictures=True)
    message = saying("**hi**", choices=CHOICES, card=CARD, form=FORM, attachments=(FILE,))

    assert fit(message, can) == [message]


def test_buttons_become_numbered_choices_that_can_be_typed() -> None:
    (sent,) = fit(saying("Refund?", choices=CHOICES), TEXT_ONLY)

    assert sent.choices == ()
    assert "1. Approve" in sent.text
    assert "/deny 12" in sent.text
    assert "Reply with a number" in sent.text


def test_chinese_texts_are_answered_in_chinese() -> None:
    assert "请回复编号" in fit(saying("退款吗？", choices=CHOICES), TEXT_ONLY)[0].text


def test_more_choices_than_fit_become_numbers_all_together() -> None:
    can = Capabilities(buttons=1)

    assert fit(saying(choices=CHOICES[:1]), can)[0].choices == CHOICES[:1]
    assert fit(saying(choices=CHOICES), can)[0].choices == ()


@pytest.mark.parametrize(
    ("said", "means"),
    [("1", "/approve 12"), (" 2. ", "/deny 12"), ("２", "/deny 12"), ("#1", "/approve 12"), ("deny", "/deny 12"),
     ("3", None), ("0", None), ("1 2", None), ("approve it", None), ("", None)],
)  # fmt: skip
def test_a_typed_number_or_label_chooses(said: str, means: str | None) -> None:
    assert chosen(said, CHOICES) == means


def test_a_card_becomes_text_with_its_facts_and_steps() -> None:
    text = fit(saying("", card=CARD), Capabilities(max_text=4000))[0].text

    for part in ("refund", "order: A-1", "✅ receive · 0.0 s", "▶️ act", "http://127.0.0.1:3000/runs/1"):
        assert part in text


def test_a_form_becomes_questions_and_a_command_to_send() -> None:
    text = fit(saying("", form=FORM), Capabilities(markdown=True, max_text=4000))[0].text

    assert "Order (`order`)" in text
    assert '`/refund note="as agreed" order=…`' in text


def test_files_that_can_not_be_sent_are_named() -> None:
    large = Attachment(id="1" * 64, name="dump.bin", media_type="application/octet-stream", size=9_000_000)

    (sent,) = fit(saying(attachments=(FILE, large)), Capabilities(files=True, max_file=1_000_000))

    assert sent.attachments == (FILE,)
    assert "📎 dump.bin (8.6 MB)" in sent.text


def test_markdown_becomes_plain_where_it_is_not_shown() -> None:
    text = "# Title\n**bold** `code` [site](https://a.example/x_y)\n```py\na*b\n```"

    assert fit(saying(text), TEXT_ONLY)[0].text == "Title\nbold code site (https://a.example/x_y)\na*b\n"


def test_a_long_text_becomes_several_whose_last_has_the_buttons() -> None:
    parts = fit(
        saying("word " * 60, choices=CHOICES, replaces="k0", key="k1"), Capabilities(buttons=True, max_text=100)
    )

    assert len(parts) >= 3
    assert [bool(part.choices) for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [part.key for part in parts[:2]] == ["k1/0", "k1/1"]
    assert [part.replaces for part in parts[:2]] == ["k0", None]


# Splitting

PIECES = ("word ", "字", "句子。", "\n", "\n\n", "```py\n", "```\n", "~~~\n", "👨‍👩‍👧", "é", "🇩🇪", "x" * 70)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=80),
    st.integers(40, 200),
    st.sampled_from(["characters", "utf16", "bytes"]),
)  # fmt: skip
def test_parts_fit_lose_nothing_and_cut_no_character(pieces: list[str], limit: int, unit: str) -> None:
    text, size = "".join(pieces), Capabilities(unit=unit).size  # pyright: ignore[reportArgumentType]

    parts = split(text, limit, size)

    assert all(size(part) <= limit for part in parts)
    wanted = [g for g in iter_graphemes(text) if g.strip() and g[0] not in "`~py"]
    kept = [g for part in parts for g in iter_graphemes(part) if g.strip() and g[0] not in "`~py"]
    assert kept == wanted


@pytest.mark.parametrize("mark", ["```", "~~~"])
def test_a_fence_that_is_cut_is_closed_and_opened_again(mark: str) -> None:
    text = "before\n" + f"{mark}python\n" + "\n".join(f"x = {n}" for n in range(40)) + f"\n{mark}\nafter"

    parts = split(text, 100)

    assert all(part.count(mark) % 2 == 0 for part in parts)
    assert all(part.startswith(f"{mark}python\n") for part in parts[1:-1])
    assert parts[-1].endswith("after")


def test_paragraphs_then_lines_then_sentences_are_kept_together() -> None:
    assert split("a" * 60 + "\n\n" + "b" * 30 + "\n\n" + "c" * 60, 100) == ["a" * 60 + "\n\n" + "b" * 30, "c" * 60]
    assert split("一" * 30 + "。" + "二" * 30, 50) == ["一" * 30 + "。", "二" * 30]


# Pacing


async def test_a_conversation_gets_what_its_network_allows_and_others_don_t_wait() -> None:
    clock = Clock()
    pace = Pace([Rate(2, 1.0), Rate(3, 60.0, "app")], now=clock.now, sleep=clock.sleep)

    waits = [await pace.wait(HERE) for _ in range(3)]

    assert waits == [0.0, 0.0, 1.0]
    with pytest.raises(RateLimited) as limited:
        await pace.wait(THERE)
    assert 58 < limited.value.after <= 60


async def test_a_pause_that_the_network_asks_for_is_kept() -> None:
    clock = Clock()
    pace = Pace([], now=clock.now, sleep=clock.sleep)
    pace.pause(HERE, 7)

    assert await pace.wait(THERE) == 0
    assert await pace.wait(HERE) == 7


async def test_any_window_holds_at_most_its_count() -> None:
    clock = Clock()
    pace = Pace([Rate(7, 1), Rate(8, 2), Rate(60, 30)], now=clock.now, sleep=clock.sleep)
    sent: list[float] = []
    for _ in range(100):
        await pace.wait(HERE, longest=1000)
        sent.append(clock.now())

    for count, seconds in ((7, 1), (8, 2), (60, 30)):
        assert all(sent[n + count] - sent[n] >= seconds - 1e-6 for n in range(len(sent) - count))


# Sending


async def test_parts_that_were_sent_are_not_sent_again() -> None:
    channel = Scripted(Capabilities(max_text=40), Delivery(state="sent"), Unavailable("down"))
    outbound, message = Outbound(channel), saying("word " * 20, key="k")

    with pytest.raises(Unavailable):
        await outbound.send(message)
    delivery = await outbound.send(message)

    assert delivery == Delivery(state="sent", platform_id="p1")
    assert " ".join(text for _, text in channel.shown).split() == ["word"] * 20


async def test_what_is_unknown_in_the_middle_is_told() -> None:
    channel = Scripted(Capabilities(max_text=40), Delivery(state="sent"), Delivery(state="unknown"))

    delivery = await Outbound(channel).send(saying("word " * 20, key="k"))

    assert delivery.state == "unknown"
    assert "1 of" in str(delivery.error)


async def test_a_429_holds_the_conversation_back() -> None:
    clock = Clock()
    channel = Scripted(Capabilities(), RateLimited("slow down", after=5))
    outbound = Outbound(channel, Pace([], now=clock.now, sleep=clock.sleep))

    with pytest.raises(RateLimited):
        await outbound.send(saying())
    with pytest.raises(RateLimited) as held:
        await outbound.send(saying())
    await clock.sleep(held.value.after)
    await outbound.send(saying())

    assert (held.value.after, len(channel.shown)) == (5.0, 1)


async def test_a_group_is_spoken_to_as_seldom_as_its_network_wants() -> None:
    clock, channel = Clock(), Scripted(Capabilities())
    outbound = Outbound(channel, Pace([Rate(2, 60, "group")], now=clock.now, sleep=clock.sleep))

    for _ in range(5):
        await outbound.send(saying())
    await outbound.send(saying(), group=True)
    await outbound.send(saying(), group=True)

    with pytest.raises(RateLimited) as held:
        await outbound.send(saying(), group=True)
    assert held.value.after == 60


def test_what_nobody_would_miss_leaves_half_of_a_limit_to_whole_messages() -> None:
    pace = Pace([Rate(20, 60, "group")], now=Clock().now)

    for _ in range(10):
        pace.spare(HERE, group=True)

    with pytest.raises(RateLimited):
        pace.spare(HERE, group=True)
    assert pace.delay(HERE, group=True) == 0


async def test_a_message_takes_the_place_of_an_earlier_one() -> None:
    channel = Scripted(Capabilities(edit=True))

    delivery = await Outbound(channel).send(saying("new"), earlier="p9")

    assert (delivery.platform_id, channel.shown) == ("p9", [("p9", "new")])


async def test_an_edit_that_is_refused_or_impossible_becomes_a_new_message() -> None:
    refused, unable = Scripted(Capabilities(edit=True), Rejected("too old")), Scripted(Capabilities())

    await Outbound(refused).send(saying("new"), earlier="p9")
    await Outbound(unable).send(saying("new"), earlier="p9")

    assert refused.shown == unable.shown == [(None, "new")]


# Streaming


async def streamed(channel: Scripted, clock: Clock, texts: int) -> Delivery:
    throttle = Throttle(EditedStream(channel, saying("")), 1.0, now=clock.now, sleep=clock.sleep)
    for number in range(texts):
        throttle.put(f"text {number}")
        clock.time += 0.05
        await asyncio.sleep(0)
    return await throttle.finish(saying("the end"))


async def test_updates_are_throttled_and_the_end_always_arrives() -> None:
    clock, channel = Clock(), Scripted(Capabilities(edit=True))

    delivery = await streamed(channel, clock, 100)

    assert delivery.platform_id == "p1"
    assert channel.shown[-1] == ("p1", "the end")
    assert 3 <= len(channel.shown) <= (clock.now() - 1000) + 2


@pytest.mark.parametrize("trouble", [RateLimited("slow", after=3), Unavailable("down"), Rejected("bad markup")])
async def test_a_failed_update_does_not_keep_the_end_from_arriving(trouble: Exception) -> None:
    channel = Scripted(Capabilities(edit=True), Delivery(state="sent"), trouble)

    delivery = await streamed(channel, Clock(), 20)

    assert (delivery.state, channel.shown[-1]) == ("sent", ("p1", "the end"))


async def test_an_answer_that_never_grew_is_a_plain_message() -> None:
    channel = Scripted(Capabilities(edit=True))

    await streamed(channel, Clock(), 0)

    assert channel.shown == [(None, "the end")]


async def test_a_growing_message_of_which_nobody_knows_is_not_sent_again() -> None:
    clock, channel = Clock(), Scripted(Capabilities(edit=True), Delivery(state="unknown"))

    delivery = await streamed(channel, clock, texts=3)

    assert delivery.state == "sent"
    assert len(channel.shown) == 2


async def test_a_growing_message_that_was_removed_ends_as_a_new_one() -> None:
    channel = Scripted(Capabilities(edit=True), Delivery(state="sent"), Rejected("no such message"))

    await streamed(channel, Clock(), texts=1)

    assert [where for where, _ in channel.shown] == [None, None]


async def test_the_end_is_tried_again_where_it_fails() -> None:
    channel = Scripted(Capabilities(edit=True), Delivery(state="sent", platform_id="p1"), Unavailable("down"))
    throttle = Throttle(EditedStream(channel, saying("")), 0.0)
    throttle.put("a")
    await asyncio.sleep(0.01)

    with pytest.raises(Unavailable):
        await throttle.finish(saying("the end"))
    await throttle.finish(saying("the end"))

    assert channel.shown[-1] == ("p1", "the end")


async def test_a_long_pause_before_the_end_is_left_to_the_outbox() -> None:
    time, channel = 1000.0, Scripted(Capabilities(edit=True), Delivery(state="sent"), RateLimited("slow", after=90))
    throttle = Throttle(EditedStream(channel, saying("")), 0.0, now=lambda: time)
    for text in ("a", "b"):
        throttle.put(text)
        await asyncio.sleep(0.01)

    with pytest.raises(RateLimited) as limited:
        await asyncio.wait_for(throttle.finish(saying("the end")), 1)
    time += limited.value.after
    await throttle.finish(saying("the end"))

    assert channel.shown[-1] == ("p1", "the end")


# Buttons


def buttons(folder: Path, clock: Clock, key: bytes = b"k" * 32) -> Buttons:
    return Buttons(key, FileStore(folder), now=clock.now)


@pytest.mark.parametrize("text", ["/approve 12", "是", "x" * 33, "x" * 34, "长" * 5000])
def test_a_button_says_what_it_was_made_for(text: str, tmp_path: Path) -> None:
    made = buttons(tmp_path, Clock())

    token = made.seal(text, HERE)

    assert len(token) <= MAX_TOKEN
    assert token.isascii()
    assert made.open(token, HERE, "u1") == text


def test_a_button_counts_only_where_when_and_for_whom_it_was_made(tmp_path: Path) -> None:
    clock = Clock()
    made = buttons(tmp_path, clock)
    token = made.seal("/approve 12", HERE, account="u1", ttl_s=60)

    assert made.open(token, HERE, "u1") == "/approve 12"
    with pytest.raises(Forbidden):
        made.open(token, HERE, "u2")
    with pytest.raises(Forbidden):
        made.open(token, THERE, "u1")
    with pytest.raises(Unauthorized):
        buttons(tmp_path, clock, b"x" * 32).open(made.seal("a", HERE), HERE, "u1")
    clock.time += 61
    with pytest.raises(Forbidden, match="ended"):
        made.open(token, HERE, "u1")


def test_no_spoilt_token_opens(tmp_path: Path) -> None:
    made = buttons(tmp_path, Clock())
    for text in ("/approve 12", "long " * 50):
        token = made.seal(text, HERE)
        spoilt = {token[:n] + other + token[n + 1 :] for n in range(len(token)) for other in "A_b"} - {token}
        for one in (*spoilt, "", "é", "A" * 64, token + "A", token[:-1], token + "="):
            with pytest.raises((Unauthorized, Forbidden)):
                made.open(one, HERE, "u1")


def test_a_form_brings_back_its_command_and_what_was_known(tmp_path: Path) -> None:
    made = buttons(tmp_path, Clock())

    token = made.seal_form(FORM, HERE, account="u1")

    assert made.open_form(token, HERE, "u1") == ("refund", {"note": "as agreed"})
    with pytest.raises(Unauthorized):
        made.open_form(made.seal("no form", HERE), HERE, "u1")
