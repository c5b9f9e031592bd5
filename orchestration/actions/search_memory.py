"""Action `search_memory`: what the memory of this scope holds about a text; no other scope can be named."""

from pydantic import Field

from integrations.settings import Settings
from orchestration.actions import Arguments, Effect, Means, Occasion, Outcome


class Search(Arguments):
    """What to look for."""

    text: str = Field(min_length=1, max_length=10_000)
    limit: int = Field(default=8, ge=1, le=50)


class SearchMemory:
    """Searches."""

    name = "search_memory"
    summary = "Search the memory of this conversation."
    arguments = Search

    def effect(self, args: Search, settings: Settings) -> Effect:  # noqa: ARG002 - the protocol's
        """It reads."""
        return "read"

    def preview(self, args: Search, settings: Settings) -> str:  # noqa: ARG002
        """Say what would be looked for."""
        return f"would search this memory for {args.text[:200]!r}"

    def carry_out(self, args: Search, means: Means, occasion: Occasion) -> Outcome:
        """Search. Raises what `Memory.query` raises."""
        found = means.memory.query(occasion.scope, args.text, limit=args.limit)
        lines = [f"> {passage.text}\n> — {passage.source}" for passage in found]
        data = [{"text": p.text, "source": p.source, "score": round(p.score, 3), "at": p.at.isoformat()} for p in found]
        return Outcome(text="\n\n".join(lines) or "Nothing is remembered about that.", data={"recollections": data})


ACTION = SearchMemory()
