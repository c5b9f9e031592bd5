"""Our OpenAI-compatible interface over HTTP, without Ray: which models it names, and how it refuses."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.fleet import ModelSpec
from tests.engines import TOKEN, served
from tests.scripted_engine import ScriptedEngine

HELLO = {"model": "default", "messages": [{"role": "user", "content": "Hello"}]}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}


@pytest.fixture
async def http(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    engine = ScriptedEngine(ModelSpec(engine="scripted", name="smollm2-135m"))
    engine.gate.set()
    async with (
        served(engine, tmp_path) as url,
        httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}) as client,
    ):
        yield client


async def test_the_list_of_models_names_what_a_wrong_name_is_answered_with(http: httpx.AsyncClient) -> None:
    listed = [model["id"] for model in (await http.get("models")).json()["data"]]
    refused = await http.post("chat/completions", json=HELLO | {"model": "gpt-9"})

    assert listed == ["smollm2-135m", "deep", "default", "fast", "e"]
    assert refused.status_code == 404
    *chats, embeds = listed
    assert refused.json()["error"]["message"] == (
        f"There is no model or route 'gpt-9'; there is: {', '.join(chats)} (and {embeds}, which embeds)."
    )


@pytest.mark.parametrize("name", ["smollm2-135m", "deep", "default", "fast"])
async def test_each_listed_model_answers(http: httpx.AsyncClient, name: str) -> None:
    assert (await http.get(f"models/{name}")).status_code == 200
    assert (await http.post("chat/completions", json=HELLO | {"model": name})).status_code == 200


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, PICTURE]}]},
            "messages.0.content.1",
            "only parts of the type `text` are taken, no pictures, sound or files.",
        ),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content", "a text is needed."),
        ({"messages": "Hello"}, "messages", "a list is needed."),
        ({"tool_choice": "perhaps"}, "tool_choice", "it must be auto, none or required."),
        ({"temperature": "hot"}, "temperature", "a number is needed."),
        ({"Logprobs": True}, "Logprobs", "there is no such field."),
    ],
)
async def test_a_wrong_field_is_named_as_it_was_sent_with_what_is_needed(
    http: httpx.AsyncClient, change: dict[str, Any], param: str, said: str
) -> None:
    answer = await http.post("chat/completions", json=HELLO | change)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["message"], error["param"]) == (f"{param}: {said}", param)
    assert error["type"] == "invalid_request_error"


async def test_a_body_that_is_no_json_is_told_with_the_place(http: httpx.AsyncClient) -> None:
    answer = await http.post(
        "chat/completions", content=b'{"model": "default",}', headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["message"].startswith("The body is no JSON: ")
    assert error["message"].endswith(" at character 20.")
    assert error["param"] is None
