"""`runbell models switch` changes one route, and nothing else of the file."""

from pathlib import Path

import pytest

from integrations.errors import InvalidInput, Misconfigured
from serving.models_edit import switch, switch_back
from serving.models_file import parse

HEAD = """\
# ours
models:
  a: {engine: llama_cpp}   # the first
  b: {engine: llama_cpp}
  e: {engine: minilm, capabilities: [embed]}
"""
FORMS = {
    "no routes": "",
    "flow": "routes:\n  default: [a, b]  # why\n  other: [a]\n",
    "one name": "routes:\n  default: a\n",
    "full": "routes:\n  default:\n    candidates: [a]\n    max_price: 0.5\n",
    "lines": "routes:\n  default:\n    - a\n    - b\n  other: a\n",
    "one line": "routes:\n  default:\n  - a\n",
    "another route": "routes:\n  other: [a]\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_model_comes_first_on_its_route_and_the_rest_stays(tmp_path: Path, form: str):
    path = tmp_path / "models.yaml"
    path.write_text(HEAD + FORMS[form])
    before = parse(path)

    candidates = switch(path, "default", "b")

    after = parse(path)
    assert candidates == after.all_routes()["default"].candidates == ("b", "a")
    assert after.models == before.models
    assert after.all_routes()["default"].max_price == before.all_routes()["default"].max_price
    assert after.routes.get("other") == before.routes.get("other")
    assert path.read_text().startswith(HEAD)
    assert ("# why" in path.read_text()) == ("# why" in FORMS[form])


def test_a_switch_is_taken_back(tmp_path: Path):
    path = tmp_path / "models.yaml"
    path.write_text(HEAD)
    switch(path, "default", "b")

    switch_back(path)

    assert path.read_text() == HEAD


@pytest.mark.parametrize(("route", "model"), [("default", "z"), ("nowhere", "b"), ("default", "e"), ("embed", "a")])
def test_what_there_is_not_changes_nothing(tmp_path: Path, route: str, model: str):
    path = tmp_path / "models.yaml"
    path.write_text(HEAD)

    with pytest.raises((InvalidInput, Misconfigured)):
        switch(path, route, model)

    assert path.read_text() == HEAD
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_file_it_says_how_to_get_one(tmp_path: Path):
    with pytest.raises(Misconfigured, match="runbell models init"):
        switch(tmp_path / "models.yaml", "default", "b")
    (tmp_path / "models.yaml").write_text(HEAD)
    with pytest.raises(Misconfigured, match="nothing was switched"):
        switch_back(tmp_path / "models.yaml")
