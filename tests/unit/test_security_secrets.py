"""Secret references, and that no secret is ever shown."""

from pathlib import Path

import pytest

from integrations.errors import Misconfigured
from integrations.security.secrets import resolve


def test_a_literal_an_environment_variable_and_a_file_give_their_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from file\n")
    monkeypatch.setenv("A_SECRET", "from env")

    found = [resolve(reference, name="x") for reference in ("literal", "env:A_SECRET", f"file:{tmp_path}/secret")]

    assert [secret.get_secret_value() for secret in found] == ["literal", "from env", "from file"]


def test_a_secret_shows_in_neither_repr_nor_str() -> None:
    secret = resolve("hunter2hunter2", name="x")

    assert "hunter2" not in f"{secret!r} {secret}"


@pytest.mark.parametrize("reference", [None, "", "  ", "env:NOT_SET_ANYWHERE", "file:/nowhere/at/all"])
def test_a_missing_or_blank_secret_names_its_setting_and_what_to_do(reference: str | None) -> None:
    with pytest.raises(Misconfigured, match=r"channels\.slack\.token"):
        resolve(reference, name="channels.slack.token")


def test_a_blank_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "blank").write_text(" \n")

    with pytest.raises(Misconfigured, match="blank"):
        resolve(f"file:{tmp_path}/blank", name="x")
