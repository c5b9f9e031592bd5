"""Secrets at rest: what is sealed opens with its own key, in its own place, and unchanged."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from integrations.errors import Misconfigured
from integrations.security.sealing import FILE, Seal

KEY = "a key of some length"


def test_what_is_sealed_opens_with_its_key_in_its_place_only() -> None:
    sealed = Seal(KEY).close("xoxb-1", "default slack T1")

    assert Seal(KEY).open(sealed, "default slack T1") == "xoxb-1"
    assert b"xoxb" not in sealed
    for seal, changed, place in (
        (Seal(f"{KEY}!"), sealed, "default slack T1"),
        (Seal(KEY), sealed, "default slack T2"),
        (Seal(KEY), sealed[:-1] + bytes([sealed[-1] ^ 1]), "default slack T1"),
        (Seal(KEY), sealed[:5], "default slack T1"),
        (Seal(KEY), b"", "default slack T1"),
    ):
        with pytest.raises(Misconfigured, match="another key"):
            seal.open(changed, place)


def test_the_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    sealed = Seal.of(None, tmp_path).close("secret", "here")

    assert Seal.of(None, tmp_path).open(sealed, "here") == "secret"
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    assert Fernet((tmp_path / FILE).read_text().strip())  # Secret arguments are kept under the same key.


@pytest.mark.parametrize("reference", [" ", "short", "env:RUNBELL_NO_SUCH_KEY"])
def test_a_blank_or_short_key_is_refused(reference: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        Seal.of(reference, tmp_path)
