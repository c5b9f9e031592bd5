"""E-mail's channel against the simulated provider: real IMAP and SMTP, signed mails, and what goes wrong on the way."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from integrations.channels import Accepted
from integrations.channels.email import connect
from integrations.channels.email.access import access
from integrations.channels.email.channel import Email
from integrations.channels.email.check import check
from integrations.channels.email.mailbox import Box
from integrations.channels.simulators.base import CUT, CUT_AFTERWARDS, Fault, Limit
from integrations.channels.simulators.email import SimulatedEmail, body_of
from integrations.channels.simulators.email_servers import Stored
from integrations.database import Database
from integrations.errors import Misconfigured, RateLimited, Rejected, TemporaryError
from integrations.files import FileStore
from integrations.messages import Address, Choice, InboundMessage, OutboundMessage
from integrations.security.tokens import create_token
from integrations.settings import Channels, Settings
from tests.rig import Rig, Script, echo, hurry, listening, rigged

LIN = "lin@people.test"


@pytest.fixture
async def mail() -> AsyncIterator[SimulatedEmail]:
    async with SimulatedEmail() as mail:
        yield mail


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = {"mailbox__POLL_SECONDS": 0.05, "mailbox__LEFT_SECONDS": 0.05, "channel__LATER_SECONDS": 0.1}
    pauses |= {"submit__GREYLIST_SECONDS": 0.1}
    hurry(monkeypatch, **{f"email__{name}": pause for name, pause in pauses.items()})


def channel_of(mail: SimulatedEmail, home: Path, encryption: str = "none", **more: object) -> Email:
    create_token(home)
    section = mail.settings(encryption, **more)
    return Email.of(Settings(home=home, channels=Channels(email=section)), section, lookup=mail.lookup)


@asynccontextmanager
async def connected(mail: SimulatedEmail, database: Database, home: Path, script: Script = echo) -> AsyncGenerator[Rig]:
    async with rigged(database, channel_of(mail, home), script) as (rig, _):
        yield rig


def to(conversation: str, text: str, **more: object) -> OutboundMessage:
    return OutboundMessage.model_validate(
        {"address": Address(channel="email", conversation=conversation), "text": text, **more}
    )


async def test_a_command_is_answered_in_its_thread(mail: SimulatedEmail, database: Database, tmp_path: Path) -> None:
    async with connected(mail, database, tmp_path) as rig:
        first = await mail.write("/digest topic=上海\n\nBest regards\nLin", subject="Digest, please")
        await mail.until(lambda: mail.sent)
        await mail.write("and **tomorrow**?", answers=mail.sent[0])
        await mail.until(lambda: len(mail.sent) == 2)
        await mail.until(lambda: not mail.unread)

    answer, second = mail.sent
    assert mail.texts(LIN) == ["you said: /digest topic=上海", "you said: and tomorrow?"]
    assert (answer["Subject"], answer["In-Reply-To"], answer["References"]) == ("Re: Digest, please", first, first)
    assert second["References"].split()[:2] == [first, answer["Message-ID"]]
    assert (answer["Auto-Submitted"], answer["From"].addresses[0].addr_spec) == ("auto-replied", mail.address)
    assert "<strong>tomorrow</strong>" in second.get_body(("html",)).get_content()
    assert {message.address.conversation for message in rig.fresh} == {f"{LIN}/{first}"}
    assert [(message.account, message.direct) for message in rig.fresh] == [(LIN, True)] * 2


async def test_choices_are_numbers_that_can_be_typed_and_files_come_along(
    mail: SimulatedEmail, database: Database, tmp_path: Path
) -> None:
    file = FileStore(tmp_path / "files").put(b"\x89PNG....", name="销量.png")

    def script(message: InboundMessage) -> list[OutboundMessage]:
        if message.subject:
            return echo(message)
        choices = (Choice(label="Approve", text="/approve 17"), Choice(label="No", text="/deny 17"))
        return [OutboundMessage(address=message.address, text="Refund?", choices=choices, attachments=(file,))]

    async with connected(mail, database, tmp_path, script) as rig:
        await mail.write("refund", files=[("a b.csv", b"1,2", "text/csv")])
        await mail.until(lambda: mail.sent)
        await mail.write("2\n\n-- \nLin", answers=mail.sent[0])
        await mail.until(lambda: len(mail.sent) == 2)

    assert body_of(mail.sent[0]).startswith("Refund?\n\n1. Approve (/approve 17)\n2. No (/deny 17)")
    assert [part.get_filename() for part in mail.sent[0].iter_attachments()] == ["销量.png"]
    assert [(one.name, one.size) for one in rig.fresh[0].attachments] == [("a b.csv", 3)]
    assert rig.fresh[1].text == "2"


async def test_greylisting_and_a_limit_delay_but_lose_nothing_and_keep_the_order(
    mail: SimulatedEmail, database: Database, tmp_path: Path
) -> None:
    mail.fail("SMTP RCPT", Fault(450, "4.2.0 Greylisted"))
    mail.fail("SMTP CONNECT", CUT)
    mail.limits["SMTP CONTENT"] = Limit(2, 0.3)
    async with connected(mail, database, tmp_path) as rig:
        await rig.post(*(to(f"{LIN}/<t@x>", f"message {number}") for number in range(6)))
        await mail.until(lambda: len(mail.sent) == 6)

    assert mail.texts() == [f"message {number}" for number in range(6)]
    assert len({one["Message-ID"] for one in mail.sent}) == 6


async def test_what_may_have_arrived_is_unknown_and_a_repetition_is_recognisable(
    mail: SimulatedEmail, tmp_path: Path
) -> None:
    channel = channel_of(mail, tmp_path)
    mail.fail("SMTP CONTENT", CUT_AFTERWARDS)
    unknown = await channel.send(to(LIN, "perhaps", key="k1"))
    again = await channel.send(to(LIN, "perhaps", key="k1"))
    other = await channel.send(to(LIN, "perhaps", key="k2"))

    assert (unknown.state, again.state) == ("unknown", "sent")
    assert unknown.platform_id == again.platform_id == mail.sent[0]["Message-ID"] == mail.sent[1]["Message-ID"]
    assert other.platform_id != again.platform_id


@pytest.mark.parametrize(
    ("operation", "fault", "error"),
    [
        ("SMTP CONNECT", Fault(421, "busy"), TemporaryError),
        ("SMTP MAIL", CUT, TemporaryError),
        ("SMTP RCPT", Fault(550, "no such user"), Rejected),
        ("SMTP CONTENT", Fault(451, "try later"), RateLimited),
        ("SMTP CONTENT", Fault(554, "spam"), Rejected),
        ("SMTP AUTH", Fault(535, "wrong"), Misconfigured),
    ],
)
async def test_a_refusal_tells_whether_it_is_for_now_or_for_good(
    mail: SimulatedEmail, tmp_path: Path, operation: str, fault: Fault, error: type[Exception]
) -> None:
    mail.fail(operation, fault)

    with pytest.raises(error) as refused:
        await channel_of(mail, tmp_path).send(to(LIN, "hello"))

    assert mail.password not in str(refused.value)
    assert mail.sent == []


async def test_machines_lists_bounces_forgeries_and_ourselves_are_left_unanswered(
    mail: SimulatedEmail, tmp_path: Path
) -> None:
    async with listening(channel_of(mail, tmp_path)) as received:
        for name, value in {
            "Auto-Submitted": "auto-replied",
            "Precedence": "bulk",
            "X-Auto-Response-Suppress": "OOF, AutoReply",
            "List-Id": "<all.people.test>",
            "Return-Path": "<>",
            "X-Loop": mail.address,
        }.items():
            await mail.write("machine", headers={name: value})
        await mail.write("own", f"Runbell <{mail.address}>")
        await mail.write("bounce", "mailer-daemon@people.test")
        await mail.write("forged", signed=False)
        await mail.deliver(b"\xff\x00 nonsense")
        await mail.write("a person")
        await mail.until(lambda: received and not mail.unread)

    assert [message.text for message in received] == ["a person"]


async def test_a_thread_is_looked_up_in_the_mailbox_after_a_restart(mail: SimulatedEmail, tmp_path: Path) -> None:
    async with listening(channel_of(mail, tmp_path)) as received:
        await mail.write("hello", subject="Café 订单")
        await mail.until(lambda: received and not mail.unread)
    answer = to(received[0].address.conversation, "done", in_reply_to=received[0].ref)
    await channel_of(mail, tmp_path).send(answer)

    assert (mail.sent[0]["Subject"], mail.sent[0]["In-Reply-To"]) == ("Re: Café 订单", received[0].ref)


async def test_an_answer_to_a_mail_that_we_began_belongs_to_its_conversation(
    mail: SimulatedEmail, tmp_path: Path
) -> None:
    channel = channel_of(mail, tmp_path)
    await channel.send(to(LIN, "Your **digest**\n\nNothing happened.", kind="post"))
    async with listening(channel) as received:
        await mail.write("thanks", answers=mail.sent[0])
        await mail.until(lambda: received)

    assert (mail.sent[0]["Subject"], mail.sent[0]["Auto-Submitted"]) == ("Your digest", "auto-generated")
    assert received[0].address.conversation == LIN


async def test_what_can_not_be_stored_stays_unread_and_nobody_overtakes_himself(
    mail: SimulatedEmail, tmp_path: Path
) -> None:
    stored, refusals = list[str](), [RateLimited("slow", after=1), TemporaryError("the database is away")]

    async def receive(message: InboundMessage) -> Accepted:
        if message.account == LIN and refusals:
            raise refusals.pop(0)
        stored.append(message.text)
        return Accepted("m")

    for text in ("first", "second"):
        await mail.write(text)
    await mail.write("other", "zoe@people.test")
    task = asyncio.create_task(channel_of(mail, tmp_path).listen(receive))
    await mail.until(lambda: not mail.unread)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert sorted(stored) == ["first", "other", "second"]
    assert stored.index("first") < stored.index("second")
    assert stored[0] == "other"


async def test_a_server_without_idle_is_polled(mail: SimulatedEmail, tmp_path: Path) -> None:
    mail.idles = False
    async with listening(channel_of(mail, tmp_path)) as received:
        await mail.until(lambda: mail.called("NOOP"))
        await mail.write("hello")
        await mail.until(lambda: received)

    assert mail.called("IDLE") == []


@pytest.mark.parametrize("encryption", ["none", "tls"])
async def test_a_mail_between_the_search_and_idle_is_noticed_at_once(mail: SimulatedEmail, encryption: str) -> None:
    authority = await mail.encrypt() if encryption == "tls" else None
    async with Box(access(mail.settings(encryption, ca_file=authority))) as box:
        assert await box.run(box.unread) == []
        mail.mails.append(Stored(1, b"Subject: hello\r\n\r\nhello", datetime.now(UTC)))  # no news to whoever idles
        async with asyncio.timeout(10):
            await box.run(lambda: box.wait(60))
        assert await box.run(box.unread) == [1]


async def test_a_server_that_falls_silent_is_left(
    mail: SimulatedEmail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.channels.email.mailbox.IDLE_SECONDS", 0.1)
    monkeypatch.setattr("integrations.channels.email.channel.SILENCE_SECONDS", 1.0)
    async with listening(channel_of(mail, tmp_path)) as received:
        await mail.until(lambda: mail.idling)
        mail.mute = True
        await mail.until(lambda: not mail.idling)
        mail.mute = False
        await mail.write("still there?")
        await mail.until(lambda: received)

    assert received[0].text == "still there?"


async def test_starttls_is_used_and_an_unknown_certificate_refused(mail: SimulatedEmail, tmp_path: Path) -> None:
    authority = mail.secure()
    right = channel_of(mail, tmp_path, "starttls", ca_file=authority)
    async with listening(right) as received:
        await mail.write("hello")
        await mail.until(lambda: received)
    await right.send(to(LIN, "hi"))
    wrong = channel_of(mail, tmp_path, "starttls")
    with pytest.raises(Misconfigured, match="not trusted"):
        await wrong.send(to(LIN, "hi"))

    assert len(mail.sent) == 1
    assert mail.called("STARTTLS")


async def test_tls_from_the_start_is_used_both_ways_and_an_unknown_certificate_refused(
    mail: SimulatedEmail, tmp_path: Path
) -> None:
    authority = await mail.encrypt()
    right = channel_of(mail, tmp_path, "tls", ca_file=authority)
    async with listening(right) as received:
        await mail.write("hello")
        await mail.until(lambda: received)
    await right.send(to(LIN, "hi"))
    wrong = channel_of(mail, tmp_path, "tls")
    with pytest.raises(Misconfigured, match="not trusted"):
        await wrong.send(to(LIN, "hi"))
    refused = await check(mail.settings("tls"))

    assert await check(mail.settings("tls", ca_file=authority)) == []
    assert (len(mail.sent), mail.called("STARTTLS")) == (1, [])
    assert all("not trusted" in one for one in refused)
    assert [one.partition(":")[0] for one in refused] == ["IMAP", "SMTP"]


@pytest.mark.parametrize("grant", ["client_credentials", "refresh_token"])
async def test_tokens_sign_in_where_passwords_do_not(
    mail: SimulatedEmail, tmp_path: Path, grant: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    more = {"oauth_refresh_token": mail.refresh_token} if grant == "refresh_token" else {}
    section = mail.oauth(**more)
    create_token(tmp_path)
    settings = Settings(home=tmp_path, channels=Channels(email=section))
    channel = Email.of(settings, section, lookup=mail.lookup)
    async with listening(channel) as received:
        await mail.write("hello")
        await mail.until(lambda: received)
        await channel.send(to(LIN, "hi"))
        mail.tokens.clear()  # All that it has is of no use: the next connection asks for another one.
        with pytest.raises(Misconfigured, match="token"):
            await channel.send(to(LIN, "refused"))
        await channel.send(to(LIN, "again"))

    assert mail.texts() == ["hi", "again"]
    assert {call["grant_type"] for call in mail.called("token")} == {grant}
    assert len(mail.called("token")) == 2
    assert not any(word in caplog.text for word in ("token-", mail.client_secret, mail.refresh_token))


async def test_the_check_says_what_a_token_lacks(mail: SimulatedEmail) -> None:
    right = mail.oauth()
    assert await check(right) == []
    assert "app password" in (await check(mail.settings().model_copy(update={"password": "old"})))[0]
    for changed, told in (
        ({"oauth_client_secret": "no"}, "oauth_client_secret"),
        ({"oauth_refresh_token": "no"}, "refresh token has ended"),
        ({"oauth_client_secret": None}, "oauth_client_secret"),
        ({"oauth_client_id": " "}, "oauth_client_id is missing"),
        ({"oauth_token_url": "http://login.example/token"}, "https"),
    ):
        assert told in (await check(right.model_copy(update=changed)))[0]
    mail.user = "somebody else"
    assert "right to this mailbox" in (await check(right.model_copy(update={"user": "bell"})))[0]


async def test_the_check_says_what_is_wrong(mail: SimulatedEmail) -> None:
    right = mail.settings()
    assert await check(right) == []
    wrong = await check(right.model_copy(update={"password": "no"}))
    assert "IMAP server refuses" in wrong[0]
    assert "SMTP server refuses" in wrong[1]
    assert "no mailbox 'Bell'" in (await check(right.model_copy(update={"mailbox": "Bell"})))[0]
    assert "STARTTLS" in (await check(right.model_copy(update={"encryption": "starttls"})))[0]
    assert "this machine only" in (await check(right.model_copy(update={"imap_host": "mail.test"})))[0]
    mail.fail("SMTP MAIL", Fault(553, "not owned"))
    assert "may not send as bell@runbell.test" in (await check(right))[0]
    assert mail.password not in "".join(wrong)


@pytest.mark.parametrize("name", ["address", "user", "password", "imap_host", "smtp_host"])
async def test_a_blank_setting_keeps_the_channel_shut(name: str, tmp_path: Path) -> None:
    section = SimulatedEmail().settings().model_copy(update={name: " "})

    with pytest.raises(Misconfigured, match=name):
        list(connect(Settings(home=tmp_path, channels=Channels(email=section))))
