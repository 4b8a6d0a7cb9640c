# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Names of plays, tasks and handlers: a verb and what is done to what, in words that an Ansible user expects."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = sorted(
    path.relative_to(ROOT)
    for place in ("roles/*/tasks", "roles/*/handlers", "playbooks", "tests", "benchmarks", "extensions")
    for directory in ROOT.glob(place)
    for path in directory.rglob("*.yml")
    if "output" not in path.relative_to(ROOT).parts
)
PLUGINS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "plugins").rglob("*.*")
    if path.suffix in (".py", ".yml") and "EXAMPLES" in path.read_text(encoding="utf-8")
)


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VAGUE_VERBS = words("Be Do Hand Have Keep Look Note Remember Say See Settle Tell")
NO_VERBS = words("A All An And As At By For From If In It Its No Of On Or That The Then There They This To")
# What an administrator calls the steps of a run; each is its own object.
PHASES = words("Allocate Drain Migrate Observe Plan Report Undrain")
PRONOUNS = words("he her him his it its itself one ones so that their them themselves these they this those")
# Never before a noun, as "that" is in "that host".
RIDDLES = words("him it its itself their them themselves")
SMALL_WORDS = words(
    """
    a again an and anew any at away back be beside by down for from if in into is more no not of off on or out over the
    to too up until where while with without
    """
)


def problem(name: t.Any) -> str | None:
    """Say what is wrong with the name of a play or a task; None = nothing."""
    if not isinstance(name, str):
        return "is no text"
    found = re.findall(r"[\w'-]+", re.sub(r"{{.*?}}", "VALUE", name))
    verb, rest = (found or [""])[0], [word.lower() for word in found[1:]]
    if not re.fullmatch(r"[A-Z][a-z-]+", verb) or verb in NO_VERBS or re.search(r"[^r]ing$", verb):
        return "begins with no verb"
    if verb in VAGUE_VERBS:
        return f"says with '{verb}' too little about what is done"
    if verb in PHASES and not PRONOUNS & set(rest):
        return None
    if not rest:
        return "has no object"
    if rest[0] in RIDDLES or not set(rest) - PRONOUNS - SMALL_WORDS:
        return "has a pronoun for its object"
    return None


class Loader(yaml.SafeLoader):
    """Reads what Ansible's own tags mark as if they were not there."""


Loader.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_scalar(node))


def names_in(entries: t.Any) -> t.Iterator[t.Any]:
    """Yield the name of each play, task and rule of a list, and of what is inside it."""
    if not isinstance(entries, list):
        return
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        if "name" in entry and len(entry) > 1:
            yield entry["name"]
        for key in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always", "rules"):
            yield from names_in(entry.get(key))


def read(text: str) -> t.Any:
    return yaml.load(text, Loader)


def examples(path: pathlib.Path) -> t.Any:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.suffix == ".py":
        found = re.search(r'^EXAMPLES = r?"""(.*?)"""', text, re.M | re.S)
        return read(found[1]) if found else None
    found_here = read(text).get("EXAMPLES")
    return read(found_here) if isinstance(found_here, str) else found_here


@pytest.mark.parametrize("path", FILES, ids=str)
def test_names_say_what_is_done(path: pathlib.Path) -> None:
    found = {name: problem(name) for name in names_in(read((ROOT / path).read_text(encoding="utf-8")))}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("path", PLUGINS, ids=str)
def test_names_in_examples_say_what_is_done(path: pathlib.Path) -> None:
    found = {name: problem(name) for name in names_in(examples(path))}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_all_kinds_of_files_are_read() -> None:
    count = {str(path): len(list(names_in(read((ROOT / path).read_text(encoding="utf-8"))))) for path in FILES}
    for path in ("playbooks/lab_up.yml", "roles/agent/tasks/main.yml", "tests/lab/migrate.yml"):
        assert count[path] > 1
    assert sum(len(list(names_in(examples(path)))) for path in PLUGINS) > len(PLUGINS) / 2


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Create the directory", None),
        ("Plan", None),
        ("Plan again", None),
        ("Maintain one round after the other", None),
        ("Remove that host", None),
        ("Check that the earlier run had the same settings", None),
        ("Run HPL, N = {{ hpl_problem.n }}", None),
        ("Migrate, wave {{ balance_wave.number }}", None),
        ("Bring up the lab", None),
        ("Wait until its libvirt answers", None),
        (None, "is no text"),
        ("", "begins with no verb"),
        ("{{ item }}", "begins with no verb"),
        ("create the directory", "begins with no verb"),
        ("The directory", "begins with no verb"),
        ("Making the directory", "begins with no verb"),
        ("Have it run", "says with 'Have' too little about what is done"),
        ("See which hosts there are", "says with 'See' too little about what is done"),
        ("Start", "has no object"),
        ("Save them", "has a pronoun for its object"),
        ("Remove that", "has a pronoun for its object"),
        ("Make its directory", "has a pronoun for its object"),
        ("Continue without it", "has a pronoun for its object"),
        ("Run it with one strategy", "has a pronoun for its object"),
    ],
)
def test_problem(name: t.Any, wrong: str | None) -> None:
    assert problem(name) == wrong


def test_names_inside_blocks_are_found() -> None:
    tasks = [
        {"name": "A", "block": [{"name": "B", "m": {}}], "rescue": [{"name": "C", "m": {}}], "always": [{"m": {}}]}
    ]
    assert list(names_in([{"name": "P", "hosts": "all", "tasks": tasks}])) == ["P", "A", "B", "C"]
