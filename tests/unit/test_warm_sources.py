"""What code consists of, as files, and whether it changed."""

import os
import sys
import time
from pathlib import Path

import pytest

from orchestration.warm.sources import Sources, loaded, loaded_roots


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "ops").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "ops" / "sell.py").write_text("PRICE = 1\n")
    return folder


def test_any_changed_new_or_missing_file_changes_the_fingerprint(package: Path) -> None:
    sources = Sources([package])
    states = [sources.fingerprint()]

    (package / "ops" / "sell.py").write_text("PRICE = 20\n")
    states.append(sources.fingerprint())
    (package / "new.py").write_text("")
    states.append(sources.fingerprint())
    (package / "ops" / "sell.py").unlink()
    states.append(sources.fingerprint())
    (package / "refund.yaml").write_text("command: refund")
    states.append(sources.fingerprint())

    assert len(set(states)) == 5


def test_what_was_only_touched_is_the_same(package: Path) -> None:
    sources = Sources([package])
    before = sources.fingerprint()

    os.utime(package / "ops" / "sell.py", (1, 1))

    assert sources.fingerprint() == before == Sources([package]).fingerprint()


def test_caches_hidden_folders_and_environments_do_not_count(package: Path) -> None:
    sources = Sources([package])
    before = sources.fingerprint()

    for name in ("__pycache__", ".venv", "node_modules", "site-packages"):
        (package / name).mkdir()
        (package / name / "any.py").write_text("x = 1")
    (package / "notes.txt").write_text("not code")

    assert sources.fingerprint() == before


def test_a_folder_that_leads_back_to_itself_is_walked_once(package: Path) -> None:
    (package / "again").symlink_to(package)

    assert Sources([package]).fingerprint() == Sources([package]).fingerprint()


def test_code_that_changed_while_it_was_loaded_is_like_no_state_of_the_files(package: Path) -> None:
    began = time.time() - 5

    assert loaded([package], began).fingerprint != Sources([package]).fingerprint()
    os.utime(package / "__init__.py", (1, 1))
    os.utime(package / "ops" / "sell.py", (1, 1))
    assert loaded([package], began).fingerprint == Sources([package]).fingerprint()


def test_roots_are_the_packages_loaded_from_the_project_without_the_platforms_own(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(package.parent)
    __import__("shop.ops.sell")
    try:
        project = Path(__file__).parents[2]

        assert loaded_roots([package.parent], "shop.definitions") == {package}
        roots = loaded_roots([package.parent, project], "orchestration.definitions")
        assert {package, project / "orchestration"} <= roots
        assert project / "integrations" not in roots
        assert not [root for root in roots if "site-packages" in root.parts]
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
            del sys.modules[name]
