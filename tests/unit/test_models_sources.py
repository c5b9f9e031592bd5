"""Pulling models from a hub, an address, a folder: a real server on this machine that breaks off, lies, refuses."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from integrations.errors import (
    Forbidden,
    InvalidInput,
    Misconfigured,
    NotFound,
    RateLimited,
    Rejected,
    RunbellError,
    Unavailable,
)
from serving import catalogue
from serving.shelf import InstalledModel, Progress
from tests.depot import Depot, open_depot, sha

SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
WEIGHTS = {name: save({f"w{number}": np.full(200_000, number, np.float32)}) for number, name in enumerate(SHARDS)}
INDEX = {"metadata": {}, "weight_map": {f"w{number}": name for number, name in enumerate(SHARDS)}}
MODEL = {
    "config.json": b'{"architectures": ["X"]}',
    "tokenizer.json": b"{}",
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    **WEIGHTS,
}
BESIDE = {"pytorch_model.bin": b"pickle", "modeling_x.py": b"import os", "onnx/model.onnx": b"x", "README.md": b"x"}


@pytest.fixture
def depot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Depot]:
    with open_depot() as depot:
        monkeypatch.setenv("HF_ENDPOINT", depot.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        depot.files |= {f"/maker/Tiny-2B/{name}": body for name, body in (MODEL | BESIDE).items()}
        yield depot


@pytest.fixture(params=["hub", "address"])
def source(request: pytest.FixtureRequest, depot: Depot) -> str:
    """What is pulled: the same model from the hub, and from an address with a list of checksums."""
    if request.param == "hub":
        return "maker/Tiny-2B"
    listing = depot.sums("/maker/Tiny-2B/")
    depot.files["/maker/Tiny-2B/SHA256SUMS"] = listing
    return f"{depot.url}/maker/Tiny-2B/SHA256SUMS#sha256={sha(listing)}"


def is_whole(model: InstalledModel) -> bool:
    catalogue.verify(model)
    return {path.name: path.read_bytes() for path in model.folder.iterdir() if path.name != "model.json"} == MODEL


def test_a_folder_of_several_files_is_pulled_without_pickles_and_code(tmp_path: Path, source: str):
    seen: list[Progress] = []

    model = catalogue.pull(tmp_path, source, seen.append)

    assert is_whole(model)
    assert (model.name, model.kind, model.engine) == ("tiny-2b", "chat", "transformers")
    assert model.main_file.name == "config.json"
    assert {progress.stage for progress in seen} >= {"check"}
    assert [found.name for found in catalogue.installed(tmp_path)] == ["tiny-2b"]
    assert not list((tmp_path / "models" / ".partial").glob("tiny-2b/*"))


def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path: Path, depot: Depot, source: str):
    files = len(MODEL) - len(SHARDS) + source.startswith("http")
    depot.breaks_after += [10**9] * files + [300_000]

    model = catalogue.pull(tmp_path, source)

    assert is_whole(model)
    asked = [begun for method, path, begun in depot.asked if method == "GET" and path.endswith(SHARDS[0])]
    # The hub's library keeps what came in steps of 10 MB only.
    assert asked == (["", "bytes=300000-"] if source.startswith("http") else ["", ""])


def test_a_pull_that_was_given_up_goes_on_with_the_next_one(tmp_path: Path, depot: Depot):
    body = depot.files["/x/m.gguf"] = b"GGUF" * 100_000
    depot.breaks_after += [250_000, 0]
    reference = f"{depot.url}/x/m.gguf#sha256={sha(body)}"

    with pytest.raises(Unavailable, match=r"m\.gguf broke off after 0 MB: .* Pull again to go on"):
        catalogue.pull(tmp_path, reference)
    with pytest.raises(InvalidInput, match=r"llama\.cpp can't load"):  # it came whole, and is no model
        catalogue.pull(tmp_path, reference)

    assert [begun for _, _, begun in depot.asked] == ["", "bytes=250000-", "bytes=250000-"]


def test_a_server_that_falls_silent_is_left(tmp_path: Path, depot: Depot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.sources.web.SILENCE_S", 0.3)
    depot.files["/x/m.gguf"] = b"GGUF" * 1000
    depot.breaks_after += [0]
    depot.silent.set()

    with pytest.raises(Unavailable, match="silent"):
        catalogue.pull(tmp_path, f"{depot.url}/x/m.gguf#sha256={'0' * 64}")


def test_what_is_not_as_promised_is_removed_and_the_rest_kept(tmp_path: Path, depot: Depot, source: str):
    wrong = f"/maker/Tiny-2B/{SHARDS[1]}"
    good = depot.files[wrong]
    if source.startswith("http"):
        depot.files[wrong] = b"?" + good[1:]
    else:
        depot.lies[wrong] = "0" * 64
    with pytest.raises(Rejected, match=rf"{SHARDS[1]} is not what its checksum promises, and was removed"):
        catalogue.pull(tmp_path, source)
    assert catalogue.installed(tmp_path) == []

    depot.asked.clear()
    depot.files[wrong], depot.lies = good, {}
    model = catalogue.pull(tmp_path, source)

    assert is_whole(model)
    assert {path.rpartition("/")[2] for method, path, _ in depot.asked if method == "GET" and "api" not in path} == {
        SHARDS[1]
    }


def test_redirects_are_followed_and_a_login_stays_where_it_belongs(tmp_path: Path, depot: Depot):
    body = b"GGUF" * 10
    with open_depot() as elsewhere:
        elsewhere.files["/stored"] = body
        depot.redirects["/m.gguf"] = f"{elsewhere.url.replace('127.0.0.1', 'localhost')}/stored"
        url = depot.url.replace("//", "//me:secret@")
        with pytest.raises(InvalidInput, match=r"llama\.cpp can't load"):
            catalogue.pull(tmp_path, f"{url}/m.gguf#sha256={sha(body)}")

    assert depot.logins[0]
    assert elsewhere.logins == [None]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "said"),
    [
        (401, {}, NotFound, "Look at the name; for a private model set HF_TOKEN"),
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, Forbidden, "refuses your token"),
        (403, {"X-Error-Code": "GatedRepo"}, Forbidden, "accepts its terms"),
        (403, {}, Forbidden, "HF_TOKEN"),
        (404, {"X-Error-Code": "RepoNotFound"}, NotFound, "no model maker/Tiny-2B"),
        (500, {}, Unavailable, "can't be reached"),
    ],
)
def test_a_hubs_refusal_says_what_to_do(
    tmp_path: Path, depot: Depot, status: int, headers: dict[str, str], kind: type[RunbellError], said: str
):
    depot.refusal = (status, headers)

    with pytest.raises(kind, match=said):
        catalogue.pull(tmp_path, "maker/Tiny-2B")


@pytest.mark.parametrize("hub", ["http://127.0.0.1:9", "http://hub.invalid", "nonsense"])
def test_a_hub_that_can_not_be_reached_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: str
):
    monkeypatch.setenv("HF_ENDPOINT", hub)

    with pytest.raises(Unavailable, match=f"can't be reached at {hub}: .*HF_ENDPOINT names another") as told:
        catalogue.pull(tmp_path, "a/b:Q4")

    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, Forbidden, "login"),
        (403, Forbidden, "login"),
        (404, NotFound, "Look at the address"),
        (429, RateLimited, "pause"),
        (503, Unavailable, "answers 503"),
    ],
)
def test_an_addresss_refusal_says_what_to_do(
    tmp_path: Path, depot: Depot, status: int, kind: type[RunbellError], said: str
):
    depot.refusal = (status, {})

    with pytest.raises(kind, match=said):
        catalogue.pull(tmp_path, f"{depot.url}/m.gguf#sha256={'0' * 64}")


def test_the_hubs_token_goes_along(tmp_path: Path, depot: Depot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")

    catalogue.pull(tmp_path, "maker/Tiny-2B")

    assert set(depot.logins) == {"Bearer hf_mine"}


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("m.gguf", "needs its checksum"),
        ("m.gguf#sha256=12", "needs its checksum"),
        (f"m.zip#sha256={'0' * 64}", "must end in .gguf or in SHA256SUMS"),
    ],
)
def test_an_address_without_a_checksum_or_of_something_else_is_refused(
    tmp_path: Path, depot: Depot, rest: str, said: str
):
    with pytest.raises(InvalidInput, match=said):
        catalogue.pull(tmp_path, f"{depot.url}/{rest}")
    assert depot.asked == []


def test_a_list_of_checksums_may_not_name_what_lies_elsewhere(tmp_path: Path, depot: Depot):
    listing = b"".join(
        f"{'0' * 64}  {name}\n".encode() for name in ("../../token", "/etc/passwd", "..", "a/config.json")
    )
    depot.files["/m/SHA256SUMS"] = listing

    with pytest.raises(InvalidInput, match="no GGUF file, and no folder"):
        catalogue.pull(tmp_path, f"{depot.url}/m/SHA256SUMS#sha256={sha(listing)}")


def test_room_is_looked_for_before_a_file_is_written(tmp_path: Path, depot: Depot, monkeypatch: pytest.MonkeyPatch):
    depot.files["/m.gguf"] = b"x" * 1000
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 900}))

    with pytest.raises(Misconfigured, match="Make room"):
        catalogue.pull(tmp_path, f"{depot.url}/m.gguf#sha256={'0' * 64}")
    with pytest.raises(Misconfigured, match="Make room"):
        catalogue.pull(tmp_path, "maker/Tiny-2B")


def test_a_folder_on_this_machine_is_copied(tmp_path: Path):
    folder = written(tmp_path / "Tiny 2B")

    model = catalogue.pull(tmp_path / "home", str(folder))

    assert is_whole(model)
    assert model.name == "tiny-2b"


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        (SHARDS[1], None, f"has no {SHARDS[1]}, which its index names"),
        (SHARDS[1], WEIGHTS[SHARDS[1]][:-100], "holds no safetensors"),
        (SHARDS[0], b"not safetensors at all", "holds no safetensors"),
        ("tokenizer.json", None, "no tokenizer.json"),
        ("config.json", b"[", "config.json can't be read"),
        ("config.json", None, "no config.json"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused_and_not_kept(
    tmp_path: Path, name: str, body: bytes | None, said: str
):
    folder = written(tmp_path / "tiny", {name: body})

    with pytest.raises(InvalidInput, match=said):
        catalogue.pull(tmp_path / "home", str(folder))

    assert catalogue.installed(tmp_path / "home") == []


def written(folder: Path, changes: dict[str, bytes | None] | None = None) -> Path:
    folder.mkdir()
    for name, body in (MODEL | (changes or {})).items():
        if body is not None:
            (folder / name).write_bytes(body)
    return folder
