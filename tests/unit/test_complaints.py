"""What pydantic finds wrong is told in plain words."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from integrations.complaints import in_words, named


class Order(BaseModel, extra="forbid"):
    name: str = Field("x", min_length=2, max_length=5)
    count: int = Field(1, ge=1, lt=10)
    size: Literal["small", "large"] = "small"
    gift: bool = False
    parts: list[str] = Field(default_factory=list[str], max_length=2)
    to: dict[str, str] = Field(default_factory=dict[str, str])

    @field_validator("to")
    @classmethod
    def known(cls, to: dict[str, str]) -> dict[str, str]:
        if "moon" in to:
            raise ValueError("Nobody delivers there.")
        return to


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"name": 7}, "name: a text is needed"),
        ({"name": "a"}, "name: at least 2 characters are needed"),
        ({"name": "abcdef"}, "name: 5 characters at most"),
        ({"count": "many"}, "count: a whole number is needed"),
        ({"count": 0}, "count: it must be 1 or more"),
        ({"count": 10}, "count: it must be less than 10"),
        ({"size": "huge"}, "size: it must be small or large"),
        ({"gift": "perhaps"}, "gift: true or false is needed"),
        ({"parts": ["a", "b", "c"]}, "parts: 2 at most"),
        ({"parts": [7]}, "parts.0: a text is needed"),
        ({"to": []}, "to: an object of names and values is needed"),
        ({"to": {"moon": "1"}}, "to: Nobody delivers there."),
        ({"colour": "red"}, "colour: there is no such field"),
    ],
)
def test_what_is_wrong_is_told_without_terms_of_the_validator(value: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Order.model_validate(value)

    found = caught.value.errors()[0]
    assert f"{named(found)}: {in_words(found)}" == told
