"""A summary that can be checked: the central sentences, quoted; the model only words them."""

import re
from dataclasses import dataclass

from integrations.errors import RunbellError
from integrations.memory.ranking import features
from orchestration.long_texts import Task, Tell, read
from serving.client import Models
from serving.schema import ChatMessage, ChatRequest

QUOTATIONS = 2
_SENTENCE = re.compile(r"[^.!?。！？\n]+(?:\n(?!\s*\n)[^.!?。！？\n]+)*[.!?。！？]*[”\"'’」』]?")
_MARKUP = re.compile(r"^[#>*\-\s]+")


_WHOLE = Task(
    of_each="Summarise this text in two or three sentences, in its language. Add nothing that it does not say.",
    of_all="These are summaries of the parts of one text, in their order. Make one summary of them, in two or three"
    " sentences, in their language. Add nothing.",
    max_tokens=200,
)


@dataclass(frozen=True)
class Summary:
    """One document: a sentence of the model if it could be asked, and quotations. `silence` is why it could not."""

    name: str
    sentence: str = ""
    quotations: tuple[str, ...] = ()
    model: str | None = None
    problem: str | None = None
    silence: str | None = None

    def as_markdown(self) -> str:
        """Return a section of the answer."""
        if self.problem:
            return f"**{self.name}** — ⚠️ {self.problem}"
        head = f"**{self.name}**" + (f" — {self.sentence} _({self.model})_" if self.sentence else "")
        return "\n".join([head, *(f"> {quotation}" for quotation in self.quotations)])


def summarise(name: str, text: str, models: Models, tell: Tell | None = None) -> Summary:
    """Return the central sentences, and the model's sentence about them; without it where the model is away.

    A strong model reads the whole text, in pieces where its context is too small; `tell` hears how far it is.
    """
    quotations = central_sentences(text)
    try:
        info = models.describe()
        model = info.name
        sentence = " ".join(read(models, _WHOLE, text, tell).text.split()) if info.strong else _ask(models, quotations)
    except RunbellError as error:
        return Summary(name, quotations=quotations, silence=str(error))
    return Summary(name, sentence=sentence, quotations=quotations, model=model)


def central_sentences(text: str, count: int = QUOTATIONS) -> tuple[str, ...]:
    """Return the sentences that share most with the whole text, in its order. English and Chinese."""
    sentences = [" ".join(_MARKUP.sub("", found[0]).split()) for found in _SENTENCE.finditer(text)]
    sentences = [sentence for sentence in dict.fromkeys(sentences) if 8 <= len(sentence) <= 400][:500]
    told: dict[str, float] = {}
    parts = [features(sentence) for sentence in sentences]
    for part in parts:
        for feature, weight in part.items():
            told[feature] = told.get(feature, 0.0) + weight
    scores = [sum(weight * told[f] for f, weight in part.items()) / (len(part) + 4) ** 0.75 for part in parts]
    best = sorted(range(len(sentences)), key=lambda index: -scores[index])[:count]
    return tuple(sentences[index] for index in sorted(best))


def _ask(models: Models, quotations: tuple[str, ...]) -> str:
    request = ChatRequest(
        messages=(
            ChatMessage(role="system", content="Say in one short sentence what the text is about. Add nothing."),
            ChatMessage(role="user", content="\n".join(quotations)[:2000]),
        ),
        max_tokens=60,
        stop=("\n",),
    )
    said = "".join(chunk.text for chunk in models.stream(request, timeout_s=30.0))
    return " ".join(said.split())
