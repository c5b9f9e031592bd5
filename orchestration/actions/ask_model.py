"""Action `ask_model`: have the model word something. What it says is data: nothing follows from it by itself."""

from pydantic import Field

from integrations.settings import Settings
from orchestration.actions import Arguments, Effect, Means, Occasion, Outcome
from orchestration.commands.costs import at_most
from serving.models_file import read_fleet
from serving.schema import ChatMessage, ChatRequest, Origin


class Prompt(Arguments):
    """What to ask."""

    prompt: str = Field(min_length=1, max_length=100_000)
    system: str = ""
    max_tokens: int = Field(default=256, ge=1, le=8192)
    temperature: float = Field(default=0.2, ge=0, le=2)


class AskModel:
    """Asks, and waits for the whole answer."""

    name = "ask_model"
    summary = "Ask the language model, and return what it says."
    arguments = Prompt

    def effect(self, args: Prompt, settings: Settings) -> Effect:  # noqa: ARG002 - the protocol's
        """It reads."""
        return "read"

    def preview(self, args: Prompt, settings: Settings) -> str:
        """Say which model, and how much it gets."""
        fleet = read_fleet(settings.serving)
        first = fleet.models[fleet.candidates(None)[0]]
        told = f"would ask {first.name} with {len(args.prompt) + len(args.system)} characters"
        return f"{told}: {at_most(first, _request(args))}"

    def carry_out(self, args: Prompt, means: Means, occasion: Occasion) -> Outcome:
        """Ask. Raises what `Models.stream` raises."""
        origin = Origin(tenant=occasion.principal.tenant, principal_id=occasion.principal.id, op=self.name)
        request = _request(args).model_copy(update={"origin": origin})
        chunks = list(means.models.stream(request, timeout_s=means.settings.serving.request_timeout_s))
        usage = chunks[-1].usage if chunks else None
        text = "".join(chunk.text for chunk in chunks)
        return Outcome(text=text, data={"text": text, "usage": usage.model_dump() if usage else None})


def _request(args: Prompt) -> ChatRequest:
    system = (ChatMessage(role="system", content=args.system),) if args.system else ()
    return ChatRequest(
        messages=(*system, ChatMessage(role="user", content=args.prompt)),
        max_tokens=args.max_tokens,
        temperature=args.temperature,
    )


ACTION = AskModel()
