"""What models took, or may take, in words: for `/why` afterwards, and for previews before."""

from collections.abc import Sequence

from integrations.database.usage import Asked, Usual
from orchestration.commands.asker import Asker
from serving.fleet import ModelSpec
from serving.prompt_size import whole
from serving.schema import ChatRequest

_OF_THAT = ("- of that the model ", "- 其中模型 ")
_KNOWN = ("- known, so that nobody was asked: the answer of ", "- 答案来自缓存，未产生费用：")
_TOGETHER = ("- models together: ", "- 模型合计：")
OF_MODELS = (*_OF_THAT, *_KNOWN, *_TOGETHER)
"""How lines of `took` and `together` begin."""


def took(one: Asked, asker: Asker) -> str:
    """Tell what one request to a model took."""
    if one.from_cache:
        return f"{asker.say(*_KNOWN)}{one.model}"
    cached = asker.say(f" ({one.tokens_cached} of them read before)", f"（其中 {one.tokens_cached} 个来自缓存）")
    again = cached if one.tokens_cached else ""
    price = f", {price_of(one.price, one.currency)}" if one.price else ""
    return asker.say(*_OF_THAT) + asker.say(
        f"{one.model}: {in_ms(one.total_ms)}, {one.tokens_in} tokens read{again}, {one.tokens_out} written{price}",
        f"{one.model}：{in_ms(one.total_ms)}，读入 {one.tokens_in}{again}，生成 {one.tokens_out} 个词元"
        f"{price.replace(', ', '，')}",
    )


def together(asked: Sequence[Asked], asker: Asker) -> str:
    """Tell what several requests have cost."""
    return asker.say(*_TOGETHER) + price_of(sum(one.price for one in asked), asked[0].currency)


def usually(usual: Usual | None) -> str | None:
    """Tell what a command usually takes; None where none of its runs has asked a model."""
    if usual is None:
        return None
    price = f", about {price_of(usual.price, usual.currency)}" if usual.price else ""
    runs = "its last run" if usual.runs == 1 else f"half of its last {usual.runs} runs took no more"
    return f"asks models: about {usual.tokens_in} tokens read and {usual.tokens_out} written{price} ({runs})"


def at_most(spec: ModelSpec, request: ChatRequest) -> str:
    """Tell what a request may take at its longest; its price only where models.yaml names one."""
    size = whole(request)
    price = spec.price.of(size, request.max_tokens)
    told = f"about {size} tokens read, at most {request.max_tokens} written"
    return f"{told}, at most about {price_of(price, spec.price.currency)}" if price else told


def price_of(price: float, currency: str) -> str:
    """Return a price with as many digits as it needs to be more than nothing."""
    return f"{price:.2f} {currency}" if price >= 0.1 else f"{price:.2g} {currency}"


def in_ms(value: float) -> str:
    """Return a time as people read it."""
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"
