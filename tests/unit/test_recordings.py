"""Recorded conversations: what is none is told so, and what never comes out twice alike is no difference."""

from pathlib import Path

import pytest

from integrations.errors import InvalidInput
from integrations.settings import Settings
from orchestration.terminal.rehearsal import replay_here
from orchestration.testing.recording import Recording, Turn, read
from orchestration.testing.replaying import differences

EARLY = "**sales** took 47 ms\n- waited for a worker: 4 ms\n- routed and made the run: 12 ms"
LATE = "**sales** took 61 ms\n- waited for a worker: 5 ms\n- routed and made the run: 9 ms\n- delivered it: 14 ms"


def told(answer: str) -> Recording:
    return Recording(turns=[Turn(say="/why", answer=answer)])


def test_a_recording_that_can_t_be_read_says_where() -> None:
    with pytest.raises(InvalidInput, match=r"turns.0.stats: there is no such field"):
        read("runbell: 1\nturns:\n- {say: hello, stats: answered}\n")


@pytest.mark.parametrize(
    "content",
    [b"root:x:0:0:root:/root:/bin/bash\n", b"load_from: []\n", b"", b"[1, 2]", b"\xff\xfe\x00", b"a: [", b"\tx"],
)
def test_a_file_that_is_no_recording_is_told_so_with_how_to_make_one(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(content)

    with pytest.raises(InvalidInput, match=r"this is no record.*`runbell record CONVERSATION > FILE`") as refused:
        replay_here(file, Settings(home=tmp_path), accept=False, online=False, as_json=False)

    assert str(refused.value).startswith(f"{file}: ")


@pytest.mark.parametrize(("before", "after"), [(EARLY, LATE), (LATE, EARLY)])
def test_a_delivery_that_was_not_stamped_yet_is_no_difference(before: str, after: str) -> None:
    assert not list(differences(told(before), told(after)))


def test_the_chinese_receipt_is_no_difference_either() -> None:
    before = "**sales** 共用时 47 ms\n- 等待工作进程: 4 ms"

    assert not list(differences(told(before), told(before + "\n- 送达: 7 ms\n- 其中模型 smol：90 ms，读入 3")))


def test_another_answer_is_a_difference() -> None:
    assert list(differences(told(EARLY), told(EARLY.replace("sales", "health"))))
