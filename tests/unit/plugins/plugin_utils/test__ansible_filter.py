# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import inspect
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import (
    Filter,
    as_filter,
    json_of,
    time,
    yaml_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError


class Tagged(str):
    """A text as Ansible passes it: equal to the plain one, and yet of another type."""


def both(first: t.Any, second: t.Any = None) -> t.Any:
    """Return what arrives."""
    return first, second


def refuse(first: t.Any) -> t.Any:
    raise BalanceError(f"{first} is wrong.")


def test_arguments_arrive_as_plain_data() -> None:
    found = as_filter()(both)(Tagged("a"), second=(Tagged("b"),))
    assert found == ("a", ["b"])
    assert [type(found[0]), type(found[1][0])] == [str, str]


def test_readers_are_by_the_name_of_the_argument() -> None:
    call = as_filter(first=json_of("The plan"), second=yaml_of("The policy"))(both)
    assert call('{"a": 1}', "b: 2") == ({"a": 1}, {"b": 2})
    assert call({"a": 1}) == ({"a": 1}, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{",), "The plan is a text that is not valid JSON: "),
        (({}, "["), "The policy is a text that is not valid YAML: "),
    ],
)
def test_errors_of_readers_name_the_argument(arguments: tuple[t.Any, ...], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        as_filter(first=json_of("The plan"), second=yaml_of("The policy"))(both)(*arguments)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [None, Tagged("2026-01-31T12:00:00Z")])
def test_a_time_is_text_or_null(value: t.Any) -> None:
    assert time(value) == value
    assert type(time(value)) in (str, type(None))


def test_a_time_is_nothing_else() -> None:
    with pytest.raises(BalanceError) as caught:
        time(5)
    assert str(caught.value) == "now must be a time such as 2026-01-31T12:00:00Z, not 5."


@pytest.mark.parametrize("filtered", [as_filter()(refuse), as_filter(problem_as_data=True)(refuse)])
def test_an_error_of_the_engine_is_one_of_ansible(filtered: Filter) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        filtered("x")
    assert str(caught.value) == "x is wrong."
    assert isinstance(caught.value.__cause__, BalanceError)


def test_an_error_is_data_if_asked_for() -> None:
    call = as_filter(problem_as_data=True)(refuse)
    assert call("x", problem_as_data=True) == call("x", True) == {"problem": "x is wrong."}


def test_an_error_is_one_of_a_list() -> None:
    assert as_filter(problem_as_list=True)(refuse)("x") == ["x is wrong."]


def test_only_errors_of_the_engine_are_translated() -> None:
    with pytest.raises(ZeroDivisionError):
        as_filter(problem_as_list=True)(lambda: 1 / 0)()


def test_a_filter_looks_like_its_function() -> None:
    call = as_filter(problem_as_data=True)(both)
    assert (call.__name__, call.__doc__) == ("both", "Return what arrives.")
    assert str(inspect.signature(call)).endswith("second: 't.Any' = None, problem_as_data: bool = False) -> 't.Any'")
