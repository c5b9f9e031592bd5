"""Whose memory it is: which names a scope accepts."""

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.errors import InvalidInput
from integrations.memory import Scope
from integrations.memory.values import digest

LOOK_ALIKES = (
    "anna",
    "Anna",
    "\u0430nna",
    "anna ",
    " anna",
    "ａｎｎａ",
    "an\u200bna",
    "\xe4nna",
    "a\u0308nna",
    "anna:",
    "anna.",
)


@pytest.mark.parametrize(
    "owner",
    ["", " ", "anna", "principal:", "principal", "group:x", "conversation:", "conversation:slack", "conversation::C1",
     "conversation:sl ack:C1", "Principal:anna", "principal:a\nb", "principal:\x00", "principal:\ud800",
     "principal:" + "x" * 600],
)  # fmt: skip
def test_an_owner_of_another_form_is_refused(owner: str):
    with pytest.raises(InvalidInput):
        Scope("default", owner)


@pytest.mark.parametrize("value", [None, 1, {"$ne": ""}, ["principal:a"], {"$or": []}, b"principal:a"])
def test_a_condition_in_place_of_a_name_is_refused(value: Any):
    with pytest.raises(InvalidInput):
        Scope("default", value)
    with pytest.raises(InvalidInput):
        Scope(value, "principal:anna")


def test_a_text_that_compares_as_it_likes_is_refused():
    class Sly(str):
        __slots__ = ()

    with pytest.raises(InvalidInput):
        Scope("default", Sly("principal:anna"))


def test_names_that_look_alike_are_different_scopes():
    keys = {Scope.principal("default", name).key for name in LOOK_ALIKES}

    assert len(keys) == len(LOOK_ALIKES)


def test_a_colon_can_not_make_one_group_into_another():
    assert Scope.conversation("t", "slack", "a:b").owner == "conversation:slack:a:b"
    with pytest.raises(InvalidInput):
        Scope.conversation("t", "slack:a", "b")


def test_a_conversation_called_like_a_principal_is_not_that_principal():
    direct, group = Scope.principal("t", "anna"), Scope.conversation("t", "web", "principal:anna")

    assert direct.key != group.key


def test_tenant_and_owner_do_not_run_into_each_other():
    one, other = Scope("t", "principal:a"), dataclasses.replace(Scope("t2", "principal:a"), tenant='t","principal:a')

    assert one.key != other.key


@given(st.lists(st.lists(st.text(max_size=4), min_size=1, max_size=3).map(tuple), unique=True, max_size=20))
def test_different_parts_have_different_digests(parts: list[tuple[str, ...]]):
    encodable = [part for part in parts if all(text.isprintable() for text in part)]

    assert all(digest(*one) != digest(*other) for one, other in itertools.combinations(encodable, 2))
