# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import ast
import json

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain


@pytest.mark.parametrize(
    "name", ["web-1", "déjà", "вебсервер", "web-\U0001f600", "\U00020000-\U0001f600\U0001f600", ""]
)
def test_json_that_was_read_as_python(name: str) -> None:
    # What ansible-core 2.17 and 2.18 do with a text in a variable that begins as a mapping does.
    read = ast.literal_eval(json.dumps({name: [name]}))
    assert plain(read) == {name: [name]}


def test_half_a_character_is_left_as_it_is() -> None:
    assert plain("\ud83d-\ude00") == "\ud83d-\ude00"
