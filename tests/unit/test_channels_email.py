"""E-mails read, judged and written, without any server: what people and hostile bytes make of them."""

import base64
import contextlib
import dataclasses
import email
import hashlib
import time
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP, default
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.channels.degrade import fit
from integrations.channels.email import compose
from integrations.channels.email.authenticity import Trust, prove, vouched
from integrations.channels.email.channel import CAPABILITIES, said
from integrations.channels.email.ignoring import LOOP_COUNT, Loops, ignored
from integrations.channels.email.markup import to_text
from integrations.channels.email.parse import headers_of, parse
from integrations.channels.email.quoting import written
from integrations.channels.simulators import email as simulated
from integrations.channels.simulators.email import SELECTOR, SimulatedEmail, body_of
from integrations.errors import InvalidInput, Rejected, Unauthorized, Unavailable
from integrations.files import FileStore
from integrations.messages import Address, Attachment, Choice, OutboundMessage, utc_now

HEAD = b"From: Lin <lin@people.test>\r\nMessage-ID: <1@people.test>\r\n"
OWN = "bell@runbell.test"


def raw(headers: str = "", body: str = "hello") -> bytes:
    return HEAD + headers.replace("\n", "\r\n").encode() + b"\r\n" + body.replace("\n", "\r\n").encode()


def alternative(plain: str | None, html: str) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"] = "lin@people.test"
    if plain is not None:
        message.set_content(plain)
        message.add_alternative(html, subtype="html")
    else:
        message.set_content(html, subtype="html")
    return message.as_bytes()


def letter(text: str, thread: compose.Thread | None = None, place: str = "lin@people.test", **more: object):
    message = OutboundMessage.model_validate(
        {"address": Address(channel="email", conversation=place), "text": text, **more}
    )
    made = compose.compose(message, thread or compose.Thread(), OWN, [], utc_now())
    return email.message_from_bytes(made.data, policy=default)


def test_a_mail_is_read() -> None:
    mail = parse(
        raw(
            "Subject: =?utf-8?B?5L2g5aW9?= =?iso-8859-1?Q?_caf=E9?=\n"
            "References: <a@x> <b@y>\n <c@z>\nIn-Reply-To: <c@z>\n"
            "Content-Type: text/plain; charset=gb2312\nContent-Transfer-Encoding: base64\n",
            "xOO6ww==",
        )
    )

    assert (mail.sender, mail.sender_name, mail.message_id) == ("lin@people.test", "Lin", "<1@people.test>")
    assert (mail.subject, mail.text) == ("你好 café", "你好")
    assert mail.references == ("<a@x>", "<b@y>", "<c@z>")


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "nobody",
        "a@x.test, b@y.test",
        "a@bank.test <evil@x.test>",
        "Bank <a@bank.test> <evil@x.test>",
        "(a@bank.test) evil@x.test",
        "group: a@x.test;",
        "=?utf-8?q?a=40bank.test?= =?utf-8?q?=3C?= <a@x.test",
        "é@x.test",
        "x" * 5000 + " <a@x.test>",
    ],
)
def test_a_sender_who_could_be_read_in_two_ways_is_refused(sender: str) -> None:
    with pytest.raises(InvalidInput):
        parse(f"From: {sender}\r\n\r\nhi".encode())


def test_two_senders_are_refused() -> None:
    with pytest.raises(InvalidInput):
        parse(HEAD + b"From: b@y.test\r\n\r\nhi")


@pytest.mark.parametrize("charset", ["nonsense", "unicode_escape", "rot13", "hex", "idna", "utf-8\x00", "é", ""])
def test_an_unknown_charset_is_read_as_utf_8(charset: str) -> None:
    mail = parse(raw(f'Content-Type: text/plain; charset="{charset}"\nSubject: =?{charset}?Q?a?=\n', "caf\u00e9 \\x41"))

    assert mail.text == "café \\x41"


@pytest.mark.parametrize(
    "hostile",
    [
        b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(2000)),
        b"Content-Type: message/rfc822\r\n\r\n" * 20_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 200_000,
        b"X: y\r\n" * 100_000,
        b"\n" * 2_000_000,
        b"Subject: " + b"=?utf-8?q?a?= " * 100_000,
        b"References: " + b"<a@b> " * 300_000,
        b"Content-Type: text/html\r\n\r\n" + b"<a b='" * 200_000,
        b"Content-Type: text/html\r\n\r\n" + b"<!--" * 400_000,
        b"Content-Type: text/plain; " + b'name*0*="%' * 50_000,
    ],
    ids=["nested", "forwarded", "parts", "headers", "lines", "words", "ids", "tags", "comments", "parameters"],
)
def test_what_would_take_long_to_read_does_not(hostile: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(InvalidInput):
        parse(HEAD + hostile)

    assert time.process_time() - began < 5


@given(st.binary(max_size=300), st.integers(0, 600), st.sampled_from([b"", b"--b\r\n", b"=?", b";", b'"', b"\x00"]))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_read_or_refused(noise: bytes, at: int, mark: bytes) -> None:
    whole = alternative("plain", "<p>rich</p>")
    with contextlib.suppress(InvalidInput):
        mail = parse(whole[:at] + mark + noise + whole[at:])
        ignored(mail.headers, mail.sender, OWN)
        said(mail)


def test_ids_with_control_characters_are_no_ids(tmp_path: Path) -> None:
    mail = parse(raw("References: <0@runbell\x00.test> <1@runbell.test>\n"))
    kept = FileStore(tmp_path).put(b"x", name="a.txt", media_type="text/\x00html")

    assert mail.references == ("<1@runbell.test>",)
    assert kept.media_type == "text/plain"


def test_rich_text_is_read_where_there_is_no_plain_one() -> None:
    html = (
        "<html><head><style>p{}</style></head><body><!-- <b>no</b> --><p>Hello&nbsp;<b>you</b></p>"
        "<ul><li>one<li>two</ul>"
        '<div style="display: none">hidden</div><a href="https://x.test/a?b=1&amp;c=2">here</a><script>if(a<b){}</script>'
        '<div class="gmail_quote">On Monday<blockquote>old</blockquote></div></body></html>'
    )

    assert parse(alternative(None, html)).text.strip() == ("Hello you\n\n- one\n- two\nhere (https://x.test/a?b=1&c=2)")
    assert parse(alternative("plain wins\n", html)).text.strip() == "plain wins"


def test_a_mail_that_is_nothing_but_a_quote_is_read_all_the_same() -> None:
    assert to_text("<blockquote>old</blockquote>") == "old"


def test_files_are_named_harmlessly_and_a_mail_within_a_mail_is_a_file() -> None:
    message = EmailMessage(policy=SMTP)
    message["From"] = "lin@people.test"
    message.set_content("see")
    message.add_attachment(b"1", maintype="text", subtype="csv", filename="../../etc/报\r\n表.csv")
    inner = EmailMessage()
    inner.set_content("inner text")
    message.add_attachment(inner)
    message.add_attachment(b"sig", maintype="application", subtype="pgp-signature")
    mail = parse(message.as_bytes())

    assert mail.text.strip() == "see"
    assert [file.name for file in mail.files] == ["报 表.csv", "message.eml"]
    assert b"inner text" in mail.files[1].data


QUOTED = "> Refund?\n> 1. Yes"


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (f"yes\n\nOn Mon, 23 Nov 2026 at 10:00, Bell <b@x.test> wrote:\n{QUOTED}", "yes"),
        (f"yes\nOn Mon, 23 Nov 2026 at 10:00,\nBell <b@x.test> wrote:\n{QUOTED}", "yes"),
        (f"好的\n\n在 2026年11月23日 10:00，Bell <b@x.test> 写道：\n{QUOTED}", "好的"),
        (f"ja\n\nAm 23.11.2026 um 10:00 schrieb Bell:\n{QUOTED}", "ja"),
        ("yes\n\n-----Original Message-----\nFrom: Bell\nSent: Monday\nRefund?", "yes"),
        ("yes\n\nFrom: Bell <b@x.test>\nSent: Monday\nTo: Lin\n\nRefund?", "yes"),
        ("好\n\n发件人： Bell\n发送时间： 周一\n收件人： Lin\n\n退款？", "好"),
        ("yes\n-- \nLin\nHead of things", "yes"),
        ("yes\n\nSent from my iPhone", "yes"),
        (f"On Monday Bell wrote:\n{QUOTED}\n\nbelow it", "below it"),
        ("/refund order=42\n\nBest regards\nLin", "/refund order=42"),
        ("/ask text=a\nsecond line", "/ask text=a\nsecond line"),
        ("2\n\nThanks!", "2"),
        ("What did he say? On Monday he wrote: nothing.\n\nMore.", None),
        ("a > b\n\nFrom: here to there", None),
    ],
)
def test_only_what_was_written_counts(text: str, own: str | None) -> None:
    assert written(text, "Re: Refund?") == (text if own is None else own)


def test_what_is_forwarded_is_not_cut() -> None:
    text = "please handle\n\n---------- Forwarded message ---------\nFrom: A\nDate: B\n\ninvoice"

    assert written(text, "Fwd: invoice") == text


@pytest.mark.parametrize(
    ("subject", "text", "whole"),
    [
        ("/digest topic=x", "regards", "/digest topic=x"),
        ("Help", "/status", "/status"),
        ("Printer", "It burns.", "Printer\n\nIt burns."),
        ("Printer", "", "Printer"),
    ],
)
def test_a_new_mails_subject_counts(subject: str, text: str, whole: str) -> None:
    assert said(parse(raw(f"Subject: {subject}\n", text))) == whole


@pytest.mark.parametrize(
    ("headers", "sender", "answered"),
    [
        ({}, "lin@people.test", True),
        ({"auto-submitted": "no"}, "lin@people.test", True),
        ({"auto-submitted": "auto-generated; x"}, "lin@people.test", False),
        ({"precedence": "Bulk"}, "lin@people.test", False),
        ({"x-auto-response-suppress": "DR, All"}, "lin@people.test", False),
        ({"x-auto-response-suppress": "DR"}, "lin@people.test", True),
        ({"list-unsubscribe": "<x>"}, "lin@people.test", False),
        ({"return-path": "<lin@people.test>"}, "lin@people.test", True),
        ({"return-path": "<>"}, "lin@people.test", False),
        ({"content-type": "multipart/report; x=y"}, "lin@people.test", False),
        ({}, "no-reply@shop.test", False),
        ({}, "MAILER-DAEMON@x.test".lower(), False),
        ({}, OWN, False),
    ],
)
def test_nobody_answers_a_machine(headers: dict[str, str], sender: str, answered: bool) -> None:
    assert bool(ignored({name: (value,) for name, value in headers.items()}, sender, OWN)) is not answered


def test_a_sender_as_quick_as_a_machine_is_noticed() -> None:
    loops = Loops()

    assert not any(loops.many("a", float(second), f"<{second}>") for second in range(LOOP_COUNT))
    assert loops.many("a", 60.0, "<new>")
    assert not loops.many("a", 60.0, "<0>")
    assert not loops.many("b", 60.0, "<new>")
    assert not loops.many("a", 700.0, "<new>")


@pytest.mark.parametrize(
    ("value", "method"),
    [
        ("mx; dmarc=pass (p=none) header.from=people.test", "dmarc"),
        ("mx; dkim=pass header.d=people.test header.s=x", "dkim"),
        ("mx; dkim=pass header.i=@people.test", "dkim"),
        ("mx 1; spf=pass; auth=pass smtp.auth=lin@people.test", "auth"),
        ("mx; dmarc=fail header.from=people.test; dkim=pass header.d=evil.test", ""),
        ("mx; dmarc=pass header.from=evil.test", ""),
        ("mx; spf=pass smtp.mailfrom=people.test", ""),
        ("mx; dmarc=fail (dmarc=pass header.from=people.test) header.from=people.test", ""),
        ('mx; dmarc=fail reason="x; dmarc=pass header.from=people.test"', ""),
        ("mx; dmarc=passport header.from=people.test", ""),
        ("", ""),
    ],
)
def test_a_servers_verdict_is_read(value: str, method: str) -> None:
    assert vouched(value, "lin@people.test") == method


def nothing(name: str) -> bytes | None:
    return None


def judged(headers: Mapping[str, tuple[str, ...]], trust: Trust) -> str:
    return prove(raw(), headers, "lin@people.test", trust, nothing)


def test_only_the_topmost_verdict_of_our_own_server_counts() -> None:
    good, bad = "mx.test; dmarc=pass header.from=people.test", "mx.test; dmarc=fail header.from=people.test"
    trust = Trust(authserv_id="MX.test")

    assert judged({"authentication-results": ("other; dmarc=fail", good, bad)}, trust) == "dmarc"
    for headers in ({"authentication-results": (bad, good)}, {"authentication-results": (good.replace("mx", "evil"),)}):
        with pytest.raises(Unauthorized):
            judged(headers, trust)
    with pytest.raises(Unauthorized):
        judged({"authentication-results": (good,)}, Trust())


def test_without_proof_only_the_settings_let_somebody_in() -> None:
    assert judged({}, Trust(required=False)) == "nobody"


def test_dkim_counts_and_a_dns_that_is_away_is_no_verdict() -> None:
    message = EmailMessage(policy=SMTP)
    message["From"] = "lin@people.test"
    message.set_content("hi")
    data = SimulatedEmail().signed(message)

    def away(name: str) -> bytes | None:
        raise Unavailable("no DNS")

    assert prove(data, {}, "lin@people.test", Trust(), SimulatedEmail().lookup) == "dkim"
    with pytest.raises(Unavailable):
        prove(data, {}, "lin@people.test", Trust(), away)
    with pytest.raises(Unauthorized):
        prove(data, {}, "lin@other.test", Trust(), SimulatedEmail().lookup)


def sealed(message: bytes, results: str) -> bytes:
    """Put the first ARC set of list.test on a mail whose body is `hello` (RFC 8617, section 5.1)."""

    def relaxed(header: str) -> bytes:
        name, _, value = header.partition(":")
        return f"{name.lower()}:{' '.join(value.split())}".encode()

    def signed(header: str, *before: bytes) -> str:
        data = b"\r\n".join([*before, relaxed(header)])
        signature = simulated._key().sign(data, padding.PKCS1v15(), hashes.SHA256())
        return header + base64.b64encode(signature).decode()

    digest = base64.b64encode(hashlib.sha256(b"hello\r\n").digest()).decode()
    told = f"ARC-Authentication-Results: i=1; {results}"
    common = f"a=rsa-sha256; d=list.test; s={SELECTOR};"
    covered = f"ARC-Message-Signature: i=1; c=relaxed/relaxed; {common} h=from:subject; bh={digest}; b="
    body = signed(covered, b"from:Lin <lin@people.test>", b"subject:[list] hi")
    seal = signed(f"ARC-Seal: i=1; cv=none; {common} b=", relaxed(told), relaxed(body))
    return "\r\n".join([seal, body, told, ""]).encode() + message


@pytest.mark.parametrize(
    ("sealers", "result", "vouches"),
    [
        ({"list.test"}, "dkim=pass header.d=people.test", True),
        ({"other.test"}, "dkim=pass header.d=people.test", False),
        ({"list.test"}, "dkim=fail header.d=people.test", False),
        (set(), "dkim=pass header.d=people.test", False),
    ],
)
def test_a_trusted_forwarders_seal_speaks_for_the_sender(sealers: set[str], result: str, vouches: bool) -> None:
    data = sealed(raw("Subject: [list] hi\n"), f"mx.list.test; {result}")
    trust = Trust(sealers=frozenset(sealers))

    if vouches:
        assert prove(data, parse(data).headers, "lin@people.test", trust, SimulatedEmail().lookup) == "arc"
    else:
        with pytest.raises(Unauthorized):
            prove(data, parse(data).headers, "lin@people.test", trust, SimulatedEmail().lookup)
    broken = data.replace(b"hello", b"other")
    with pytest.raises(Unauthorized):
        prove(broken, parse(broken).headers, "lin@people.test", trust, SimulatedEmail().lookup)


def test_what_we_say_can_not_become_a_header_or_a_script() -> None:
    evil = "x\r\nBcc: victim@x.test\r\n\r\n<script>alert(1)</script> ![p](https://evil.test/p.png) [l](javascript:x)"
    mail = letter(
        evil, compose.Thread("Hi\r\nBcc: a@x.test", ("<a@b>\r\nBcc: c@x.test",)), in_reply_to="<1@x>\r\nBcc: d"
    )
    html = mail.get_body(("html",)).get_content()

    assert mail["Bcc"] is None
    assert mail["Subject"] == "Re: Hi Bcc: a@x.test"
    assert mail["References"] is None
    assert "<script>" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html


def test_long_ids_of_a_thread_stay_whole() -> None:
    ids = tuple(f"<{'a' * 150}{number}@outlook.test>" for number in range(10))
    mail = letter("ok", compose.Thread("S", ids), f"lin@people.test/{ids[0]}", in_reply_to=ids[3])

    assert mail["In-Reply-To"] == ids[3]
    assert mail["References"].split()[0] == ids[0]
    assert mail["References"].split()[-1] == ids[3]
    assert len(mail["References"]) < 998


@pytest.mark.parametrize("place", ["", "lin", "a@b@c", "lin@x.test\r\nBcc: y", "<lin@x.test>", "a b@x.test"])
def test_a_conversation_that_is_no_address_is_refused(place: str) -> None:
    with pytest.raises(Rejected):
        letter("hi", place=place)


def test_a_conversation_names_its_parties_whatever_signs_they_have() -> None:
    place = compose.conversation("a/b@x.test", "<r/<@y>".replace("<@", "@"), OWN)

    assert compose.parties(place) == ("a/b@x.test", "<r/@y>")


def test_choices_are_numbered_in_text_and_rich_text() -> None:
    message = OutboundMessage(
        address=Address(channel="email", conversation="lin@x.test"),
        text="Refund?",
        choices=(Choice(label="Yes", text="/refund"), Choice(label="No", text="no")),
    )
    (shown,) = fit(message, CAPABILITIES)
    mail = email.message_from_bytes(compose.compose(shown, compose.Thread(), OWN, [], utc_now()).data, policy=default)

    assert "1. Yes (/refund)\n2. No (no)" in body_of(mail)
    assert "<li>No (<code>no</code>)</li>\r\n</ol>" in mail.get_body(("html",)).get_content()


def test_a_file_of_an_odd_type_is_sent_as_bytes() -> None:
    message = OutboundMessage(address=Address(channel="email", conversation="lin@x.test"), text="see")
    files = [
        (Attachment(id="0" * 64, name="a\r\nb.bin", media_type=kind, size=1), b"1") for kind in ("x", "message/rfc822")
    ]
    mail = email.message_from_bytes(
        compose.compose(message, compose.Thread(), OWN, files, utc_now()).data, policy=default
    )

    assert [part.get_content_type() for part in mail.iter_attachments()] == ["application/octet-stream"] * 2


def test_the_head_of_a_mail_tells_its_thread() -> None:
    assert headers_of(raw("Subject: Hi\nReferences: <a@b>\n")) == ("Hi", ("<a@b>", "<1@people.test>"))


def test_a_letter_does_not_show_its_content() -> None:
    made = compose.Letter("lin@x.test", "<1@x>", b"secret")

    assert "secret" not in repr(made)
    assert dataclasses.is_dataclass(made)
