"""A message longer than the model's context, as the assistant meets it: condensed first, then answered."""

import json
from datetime import UTC, datetime

from integrations.messages import Address
from orchestration.ops.answering.deciding import Mind, think_about
from orchestration.ops.answering.values import Heard, Recalled
from serving.client import ScriptedModels
from serving.schema import ChatRequest

PASTE = "Which server failed? " + "At noon all was well. " * 2500 + "Server seven failed." + " All was well." * 2000


def test_a_strong_model_reads_a_long_message_whole_before_it_answers():
    def speak(request: ChatRequest) -> str:
        if "part of a long message" in request.messages[0].content:
            return "Server seven failed." if "seven" in request.messages[-1].content else "All well."
        if "notes on the parts" in request.messages[0].content:
            return " ".join(dict.fromkeys(request.messages[-1].content.split("\n\n")))
        return json.dumps({"reply": {"answer": "Server seven.", "notes": []}})

    models = ScriptedModels(fallback=speak, strong=True)
    heard = Heard(
        message_id="m", address=Address(channel="im", conversation="c"), principal_id="p", direct=True, text=PASTE,
        characters=len(PASTE), language="en", accepted_at=datetime.now(UTC),
    )  # fmt: skip
    mind = Mind(models, models.describe(), (), lambda _: None, lambda _: None, 5.0)

    thought = think_about(heard, Recalled(), mind)

    assert thought.text == "Server seven."
    assert "Server seven failed." in models.requests[-1].messages[-1].content
    assert len(models.requests) > 2
