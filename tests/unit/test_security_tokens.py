"""The bearer token's file, one-time links and sessions."""

import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integrations.errors import Misconfigured, Unauthorized
from integrations.security.tokens import LINK_SECONDS, SESSION_SECONDS, Keys, create_token, read_token


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> Keys:
    create_token(tmp_path)
    return Keys(tmp_path, clock)


def test_the_token_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: create_token(tmp_path).read_text(), range(8)))

    assert len(tokens) == 1
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


@pytest.mark.parametrize("content", [None, "", "  \n", "short"])
def test_without_a_real_token_nothing_opens(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
        (tmp_path / "token").chmod(0o600)

    with pytest.raises(Misconfigured, match="runbell up"):
        read_token(tmp_path)


def test_a_token_that_everyone_may_read_is_refused(tmp_path: Path) -> None:
    create_token(tmp_path).chmod(0o644)

    with pytest.raises(Misconfigured, match="chmod 600"):
        read_token(tmp_path)


def test_only_the_token_itself_is_the_token(keys: Keys, tmp_path: Path) -> None:
    token = read_token(tmp_path)

    assert keys.is_token(token)
    assert not any(keys.is_token(other) for other in ("", token[:-1], f"{token} ", "é", "\ud800"))
    assert token not in repr(keys)


def test_a_link_opens_one_session_once(keys: Keys) -> None:
    key = keys.new_link_key()

    assert keys.is_session(keys.redeem_link(key))
    with pytest.raises(Unauthorized):
        keys.redeem_link(key)


def test_of_many_who_use_a_link_at_once_one_gets_in(keys: Keys) -> None:
    key = keys.new_link_key()

    def redeem(_: int) -> bool:
        try:
            keys.redeem_link(key)
        except Unauthorized:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(redeem, range(16))) == 1


def test_a_link_is_good_for_ten_minutes(keys: Keys, clock: Clock) -> None:
    key = keys.new_link_key()
    clock.ahead = LINK_SECONDS + 1

    with pytest.raises(Unauthorized, match="ten minutes"):
        keys.redeem_link(key)


@pytest.mark.parametrize("key", ["", "unknown", "../../token", "\ud800"])
def test_an_unknown_key_opens_nothing(keys: Keys, key: str) -> None:
    with pytest.raises(Unauthorized):
        keys.redeem_link(key)


def test_a_session_ends_and_can_not_be_made_up(keys: Keys, clock: Clock) -> None:
    session = keys.new_session()
    content, _, signature = session.rpartition(".")

    assert keys.is_session(session)
    assert not any(
        keys.is_session(forged)
        for forged in ("", ".", "..", f"9{content}.{signature}", f"{content}.{signature[:-1]}0x", "a.b.c", "é.é")
    )
    clock.ahead = SESSION_SECONDS + 1
    assert not keys.is_session(session)


def test_open_links_are_bounded(keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.security.tokens.MAX_OPEN_LINKS", 5)

    for _ in range(12):
        keys.new_link_key()

    assert len(list((tmp_path / "run" / "links").iterdir())) == 5
