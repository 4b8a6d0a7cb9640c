# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.filter.policy import policy
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy


@pytest.mark.parametrize("nothing", [None, {}, "", "# max_moves: 6\n"])
def test_nothing_is_the_default_policy(nothing: t.Any) -> None:
    assert policy(nothing) == policy({}, nothing) == Policy().to_mapping()


@pytest.mark.parametrize("changes", [{"max_moves": 2}, "max_moves: 2", "{max_moves: 2}"])
def test_changes_win(changes: t.Any) -> None:
    assert policy({"max_moves": 9, "hold": 3}, changes) == Policy(max_moves=2, hold=3).to_mapping()


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ([], "must be keys with their values, such as 'max_moves: 6', one a line, not []."),
        ("max_moves=6", "must be keys with their values, such as 'max_moves: 6', one a line, not 'max_moves=6'."),
        ("max_moves: [6", "is a text that is not valid YAML: expected ',' or ']', but got '<stream end>' in line 1."),
        ("hold: 2\n\tmax_moves: 6", "is a text that is not valid YAML: "),
        ("hold: \0", "is a text that is not valid YAML: it cannot be read."),
        ("when: !!python/name:os.system", "is a text that is not valid YAML: "),
    ],
)
def test_wrong_shapes_are_one_sentence(wrong: t.Any, problem: str) -> None:
    for call, what in (
        (lambda: policy(wrong), "The policy"),
        (lambda: policy({}, wrong), "What changes in the policy"),
    ):
        with pytest.raises(AnsibleFilterError) as error:
            call()
        assert str(error.value).startswith(f"{what} {problem}")
        assert "\n" not in str(error.value)


def test_a_problem_as_data() -> None:
    assert policy({"treshold": 1}, problem_as_data=True) == {
        "problem": "The policy has no key 'treshold': did you mean 'threshold'?"
    }
