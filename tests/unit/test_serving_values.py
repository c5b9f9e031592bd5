"""Errors across processes, settings, schemas."""

import pytest

from integrations import errors, settings
from integrations.errors import InvalidInput, Misconfigured, PermanentError, RateLimited
from serving.config import Config, Serving, reveal
from serving.constraint import check_answer, check_schema
from serving.failures import to_error, to_failure
from serving.schema import Failure


@pytest.mark.parametrize(
    "error",
    [
        RateLimited("wait", after=7.5),
        errors.Unavailable("gone", after=0.0),
        errors.Overloaded("full"),
        InvalidInput("bad", field="messages"),
        Misconfigured("run this"),
    ],
)
def test_an_error_crosses_as_it_was(error: errors.RunbellError):
    back = to_error(Failure.model_validate_json(to_failure(error).model_dump_json()))

    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


@pytest.mark.parametrize("kind", ["FromTheFuture", "__name__", "RunbellError"])
def test_an_unknown_error_stays_an_error(kind: str):
    assert isinstance(to_error(Failure(kind=kind, message="odd")), errors.RunbellError)
    assert isinstance(to_error(Failure(kind="FromTheFuture", message="odd")), PermanentError)


def test_serving_reads_the_same_settings_as_the_rest(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runbell.toml").write_text(
        'tenant = "acme"\n[serving]\nmodel = "mine"\nslots = 3\n[memory]\nport = 1\n'
    )
    monkeypatch.setenv("RUNBELL_SERVING__SLOTS", "5")
    monkeypatch.setenv("RUNBELL_HOME", "state")

    ours, theirs = Config(), settings.Settings()

    assert ours.serving.model_dump() == theirs.serving.model_dump()
    assert (ours.serving.model, ours.serving.slots) == ("mine", 5)
    assert ours.state == theirs.state


def test_defaults_are_those_of_the_settings():
    assert Serving().model_dump() == settings.Serving().model_dump()


def test_a_secret_is_a_literal_a_variable_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("RUNBELL_TEST_KEY", "from-env")
    (tmp_path / "key").write_text("from-file\n")

    assert reveal(None, "key") is None
    assert reveal("plain", "key") == "plain"
    assert reveal("env:RUNBELL_TEST_KEY", "key") == "from-env"
    assert reveal(f"file:{tmp_path / 'key'}", "key") == "from-file"


@pytest.mark.parametrize("reference", ["", "  ", "env:RUNBELL_NOT_THERE", "file:/not/there"])
def test_a_missing_secret_is_refused(reference: str):
    with pytest.raises(Misconfigured, match="missing"):
        reveal(reference, "serving.api_key")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "https://example.com/schema.json"},
        {"properties": {"a": {"$dynamicRef": "file:///etc/passwd"}}},
        {"enum": ["x" * 70_000]},
    ],
)
def test_what_is_no_usable_schema_is_refused(schema: dict[str, object]):
    with pytest.raises(InvalidInput):
        check_schema(schema)


def test_references_inside_a_schema_are_fine():
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    check_schema(schema)

    check_answer(schema, '{"a": 1}')
    with pytest.raises(InvalidInput):
        check_answer(schema, '{"a": "one"}')


def test_a_costly_pattern_does_not_hang():
    check_answer({"pattern": "^(a+)+$"}, '"' + "a" * 60 + '!"')


@pytest.mark.parametrize("answer", ["", "{", "Sure! {}", "[1]"])
def test_an_answer_that_is_not_the_asked_json_is_refused(answer: str):
    with pytest.raises(InvalidInput, match="did not keep to"):
        check_answer({"type": "object"}, answer)
