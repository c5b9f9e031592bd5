"""What the models are asked: system prompt, examples, history and question, within the model's context.

A small model follows examples better than instructions: the six below make SmolLM2-135M answer everyday
questions in one or two sentences where a system prompt alone made it loop or speak French. Chosen by trying
fifty questions; they hold no answer to a likely question.
"""

import re
from collections.abc import Iterable, Sequence

from integrations.memory.values import Recollection
from orchestration.commands.language import Language, pick
from orchestration.ops.answering.plans import Result
from orchestration.ops.answering.values import Turn
from serving.schema import ChatMessage, ChatRequest, ModelInfo

TALK_TOKENS = 96
QUESTION_TOKENS = 400
"""What a small model gets of a message: more it can't use, and reading it takes seconds."""
_MARGIN = 48
_LEANING = re.compile(
    r"^\W*(?:and|but|or|so|then|why|really|what about|how about|what else|which one|tell me more|more|go on|again)\b"
    r"|\b(?:it|that|there|he|she|they|them|him|his|her|their|this|those|these)\b|那|它|他|她|这|为什么|呢",
    re.IGNORECASE,
)
_TALK = "You are Runbell, a helpful assistant. Answer the question correctly in one or two short sentences."
_TALK_ZH = "你是 Runbell，一个有用的助手。请用一两句简短的中文正确地回答问题。"
_EXAMPLES = (
    ("Who are you?", "I am Runbell, an assistant that runs workflows and answers questions."),
    ("How many legs does a spider have?", "A spider has eight legs."),
    ("What is the news today?", "I don't know: I can't look that up."),
    (
        "What is gravity?",
        "Gravity is the force that pulls things towards each other, such as an apple towards the Earth.",
    ),
    ("Hello", "Hello! How can I help you today?"),
    ("Who invented the telephone?", "Alexander Graham Bell invented the telephone."),
)
_EXAMPLES_ZH = (
    ("你是谁？", "我是 Runbell，一个能运行工作流、回答问题的助手。"),
    ("蜘蛛有几条腿？", "蜘蛛有八条腿。"),
    ("今天有什么新闻？", "我不知道：我查不到这些信息。"),
)
_LEAD = "Answer the question with the note only. Use the words of the note. One short sentence."
_LEAD_EXAMPLES = (
    (
        "The printer on floor 2 is called Gutenberg.",
        "What is the printer called?",
        "The printer on floor 2 is called Gutenberg.",
    ),
    ("Our next meeting is on May 3 at 14:30.", "When do we meet next?", "The next meeting is on May 3 at 14:30."),
    ("My dog is called Rex.", "What is the name of my dog?", "Your dog is called Rex."),
)


def talk_request(info: ModelInfo, question: str, history: Sequence[Turn], language: Language) -> ChatRequest:
    """Ask a small model for general talk: examples, the question, and the last two exchanges if it needs them.

    One bad answer in the history spoils the next ones, and a prompt that always begins alike is read from cache.
    """
    fixed = [ChatMessage(role="system", content=pick(language, _TALK, _TALK_ZH))]
    for asked, answered in _EXAMPLES_ZH if language == "zh" else _EXAMPLES:
        fixed += [ChatMessage(role="user", content=asked), ChatMessage(role="assistant", content=answered)]
    leaning = history[-4:] if leans_on_history(question) else ()
    messages = fit(info, fixed, leaning, head(question, QUESTION_TOKENS), TALK_TOKENS)
    return ChatRequest(messages=messages, max_tokens=TALK_TOKENS, temperature=0.0, stop=("\nQuestion:",))


def leans_on_history(question: str) -> bool:
    """Whether a short question points back at what was said."""
    return len(question) < 120 and bool(_LEANING.search(question))


def lead_request(question: str, passage: str) -> ChatRequest:
    """Ask for one sentence that answers the question in the words of the passage."""
    messages = [ChatMessage(role="system", content=_LEAD)]
    for note, asked, answered in _LEAD_EXAMPLES:
        messages += [
            ChatMessage(role="user", content=_note_and_question(note, asked)),
            ChatMessage(role="assistant", content=answered),
        ]
    messages.append(ChatMessage(role="user", content=_note_and_question(passage[:600], question[:300])))
    return ChatRequest(messages=tuple(messages), max_tokens=48, temperature=0.0, stop=("\n",))


def fit(
    info: ModelInfo, fixed: Sequence[ChatMessage], history: Sequence[Turn], question: str, answer_tokens: int
) -> tuple[ChatMessage, ...]:
    """Return the prompt within the context: the question first of all, then as much recent history as fits."""
    left = info.context_tokens - answer_tokens - _MARGIN - tokens_in(fixed)
    asked = head(question, max(left, 32))
    left -= tokens(asked)
    kept: list[ChatMessage] = []
    for turn in reversed(history):
        text = head(turn.text, 200)
        left -= tokens(text)
        if left < 0:
            break
        kept.insert(0, ChatMessage(role=turn.role, content=text))
    while kept and kept[0].role == "assistant":
        kept.pop(0)
    return (*fixed, *kept, ChatMessage(role="user", content=asked))


def tokens(text: str) -> int:
    """Estimate the tokens of a text, rather too high: digits and Chinese cost most."""
    digits = sum(char.isdigit() for char in text)
    wide = sum(char > "\u02ff" for char in text)
    return 4 + int((len(text) - digits - wide) / 3 + digits + wide * 2.5)


def tokens_in(messages: Iterable[ChatMessage]) -> int:
    """Estimate the tokens of a prompt."""
    return sum(tokens(message.content) + 4 for message in messages)


def head(text: str, limit: int) -> str:
    """Return as much of the beginning as has at most `limit` tokens, cut at a word."""
    if tokens(text[: limit * 4]) <= limit and len(text) <= limit * 4:
        return text
    low, high = 0, min(len(text), limit * 4)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tokens(text[:middle]) <= limit else (low, middle - 1)
    return re.sub(r"\s+\S{0,40}$", "", text[:low]) or text[:low]


def as_data(passages: Sequence[Recollection]) -> str:
    """Quote passages so that nothing in them can end the quotation."""
    lines = [
        f'<note id="{number}" from="{_plain(passage.source)}">{_plain(passage.text)}</note>'
        for number, passage in enumerate(passages, 1)
    ]
    return "\n".join(lines)


def as_results(results: Sequence[Result], room: int) -> str:
    """Quote what actions gave, each in its share of `room` tokens, so that nothing in it can end the quotation."""
    share = room // max(len(results), 1)
    lines = [
        f'<result of="{_plain(one.title)}" outcome="{one.outcome}">{_plain(head(one.text, share))}</result>'
        for one in results
    ]
    return "\n".join(["<results>", *lines, "</results>"])


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _note_and_question(note: str, question: str) -> str:
    flat = " ".join(note.split()).replace('"', "'")
    return f'Note: "{flat}"\nQuestion: {" ".join(question.split())}'
