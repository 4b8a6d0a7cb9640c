# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._text import (
    WIDTH,
    clean,
    columns,
    cut,
    ordinal,
    padded,
    span,
    widest,
    wrapped,
)

# Of every script, and far more wide, combining and invisible characters than people write.
NAMES = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("web-1 \t\n\x00\x1b[31m\u0301\u0300\u200d\u202e\ufe0f漢字かな한글ﾊﾝ🖥👨‍👩‍👧🇩🇪שלוםสวัสดี\ud800"),
    ),
    max_size=500,
)


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("", 0),
        ("web-1", 5),
        ("Größe", 5),
        ("漢字", 4),
        ("ｗｅｂ", 6),
        ("ﾊﾝ", 2),
        ("한글", 4),
        ("한", 2),  # the same syllable, as the letters that it is made of
        ("e\u0301", 1),
        ("🖥", 1),
        ("🚀", 2),
        ("שלום", 4),
        ("สวัสดี", 4),
    ],
)
def test_columns(text: str, width: int) -> None:
    assert columns(text) == width


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (50, "50th"), (95.0, "95th"), (91, "91st"), (99.9, "99.9th")],
)
def test_ordinals(number: float, text: str) -> None:
    assert ordinal(number) == text


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0.75, "45 s"), (2.0, "2 min"), (90.0, "90 min"), (120.0, "2 h"), (150.0, "2.5 h"), (1440.0, "24 h")],
)
def test_lengths_of_time(minutes: float, text: str) -> None:
    assert span(minutes) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("❤\ufe0f", "❤"),
        (3, "3"),
    ],
)
def test_a_name_cannot_harm_a_terminal(text: object, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("web-1", 5, "web-1"),
        ("web-10", 5, "web-…"),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 7, "漢字漢…"),
        ("漢字漢字", 6, "漢字…"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
    ],
)
def test_what_is_too_wide_is_cut(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


def test_the_widest() -> None:
    assert widest(["web-1", "漢字漢字"]) == 8
    assert widest([], least=4) == widest(["a"], least=4) == 4


@given(NAMES, st.integers(min_value=1, max_value=60))
def test_a_name_never_takes_more_columns_than_it_gets(name: str, width: int) -> None:
    shown = clean(name, width)
    assert columns(shown) <= width
    assert columns(padded(shown, width)) == width
    assert shown.isprintable()


@given(NAMES)
def test_a_short_name_is_not_cut(name: str) -> None:
    assert clean(name, columns(clean(name))) == clean(name)


@given(NAMES, st.sampled_from(["", "  ", "      "]))
def test_lines_fit_and_nothing_is_lost(text: str, indent: str) -> None:
    lines = wrapped(text, indent)
    assert all(columns(line) <= WIDTH for line in lines)
    assert all(line.startswith(indent) for line in lines)
    assert "".join("".join(lines).split()) == "".join(clean(text).split())
