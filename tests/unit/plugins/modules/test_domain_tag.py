# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata
from ansible_collections.virtops.balance.plugins.modules import domain_tag
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_inside import (
    CONFIG,
    LIVE,
    Guest,
    InsideHost,
    api_for,
)

Run = t.Callable[..., dict[str, t.Any]]
# All that the collection and others keep beside the tags, which differs between the two.
MORE = (
    '<move source="a" destination="b" started_at="garbled"/><before><pin vcpu="0" cpus="{}"/></before><other>x</other>'
)
TEXTS = {
    place: f'<state last_moved_at="2026-01-31T12:00:00Z" mine="1"><tag>web</tag>{MORE.format(cpus)}</state>'
    for place, cpus in ((LIVE, "0-1"), (CONFIG, "all"))
}


@pytest.fixture
def guest() -> Guest:
    return InsideHost(4).add(texts=dict(TEXTS))


@pytest.fixture
def run(guest: Guest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs main() and returns what the module prints."""
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)
    monkeypatch.setattr(_connection, "require_libvirt", lambda _module: api_for(guest.host))

    def call(**arguments: t.Any) -> dict[str, t.Any]:
        with patch_module_args({"domain": "web-1", **arguments}), pytest.raises(SystemExit):
            domain_tag.main()
        return t.cast("dict[str, t.Any]", json.loads(capfd.readouterr().out))

    return call


def kept(guest: Guest, place: int) -> metadata.DomainState:
    return metadata.parse_text(guest.texts.get(place))


@pytest.mark.parametrize(
    ("options", "tags"),
    [
        ({"tags": ["db", "db"]}, ["web", "db"]),
        ({"tags": ["web"], "state": "absent"}, []),
        ({"tags": ["web", "nobody has this"], "state": "absent"}, []),
        ({"tags": ["b", "a"], "state": "exact"}, ["b", "a"]),
        ({"tags": [], "state": "exact"}, []),
        ({"tags": ['<a> & "b"', "\u00fc\u4e2d\U0001f600"]}, ["web", '<a> & "b"', "\u00fc\u4e2d\U0001f600"]),
    ],
)
def test_tags_are_changed_in_the_running_domain_and_its_definition(
    run: Run, guest: Guest, options: dict[str, t.Any], tags: list[str]
) -> None:
    asked = run(**options, _ansible_check_mode=True)
    assert (asked["changed"], asked["live"]["tags"], guest.texts) == (True, tags, TEXTS)

    done = run(**options)

    assert (done["changed"], done["live"], done["definition"]) == (True, asked["live"], asked["definition"])
    assert done["diff"]["before"]["live"]["tags"] == ["web"]
    assert done["diff"]["after"]["definition"]["tags"] == tags
    assert list(kept(guest, LIVE).tags) == list(kept(guest, CONFIG).tags) == tags
    before = dict(guest.texts)
    assert not run(**options)["changed"]
    assert guest.texts == before


def test_all_else_that_is_kept_stays(run: Run, guest: Guest) -> None:
    run(tags=["db"], allocation={"cpu_min": 0.5})
    for place, cpus in ((LIVE, "0-1"), (CONFIG, "all")):
        for part in (f'<pin vcpu="0" cpus="{cpus}" />', "<other>x</other>", 'started_at="garbled"'):
            assert part in guest.texts[place]
        assert 'mine="1"' in guest.texts[place]
        assert kept(guest, place).last_moved_at == "2026-01-31T12:00:00Z"


def test_what_differs_between_the_two_is_each_made_right(run: Run, guest: Guest) -> None:
    del guest.texts[CONFIG]
    result = run(tags=["web"])
    assert (result["changed"], result["definition"]["tags"]) == (True, ["web"])
    assert guest.texts[LIVE] == TEXTS[LIVE]


@pytest.mark.parametrize(
    ("attribute", "there", "missing"), [("active", "definition", "live"), ("persistent", "live", "definition")]
)
def test_only_what_there_is_is_changed(run: Run, guest: Guest, attribute: str, there: str, missing: str) -> None:
    setattr(guest, attribute, False)
    result = run(tags=["db"])
    assert (result[missing], result[there]["tags"]) == (None, ["web", "db"])


def test_what_allocations_give(run: Run, guest: Guest) -> None:
    result = run(allocation={"cpu_min": 0.1, "cpu_max": 1234567.5})
    assert result["live"] == {"tags": ["web"], "allocation": {"cpu_min": 0.1, "cpu_max": 1234567.5}}
    assert kept(guest, CONFIG).allocation == {"cpu_min": 0.1, "cpu_max": 1234567.5}
    assert not run(allocation={"cpu_min": 0.1, "cpu_max": 1234567.5})["changed"]
    assert run(allocation={"share": 3})["live"]["allocation"] == {"share": 3.0}
    assert not run(tags=["web"])["changed"]
    assert run(allocation={})["live"]["allocation"] is None
    assert "allocation" not in guest.texts[LIVE]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of the following is required: tags, allocation"),
        (
            {"tags": ["a\nb"]},
            "A tag must be a text without control characters and without spaces around it, not 'a\\nb'.",
        ),
        ({"tags": [" a"]}, "A tag must be a text without control characters and without spaces around it, not ' a'."),
        ({"tags": [""]}, "A tag must be a text without control characters and without spaces around it, not ''."),
        ({"allocation": {"share": -1}}, "allocation.share must be a number of at least 0, not -1."),
        ({"allocation": {"share": "nan"}}, "allocation.share must be a number of at least 0, not nan."),
        ({"domain": "nobody", "tags": ["a"]}, "There is no domain 'nobody' on this host."),
    ],
)
def test_what_cannot_be_is_one_sentence(run: Run, guest: Guest, options: dict[str, t.Any], message: str) -> None:
    result = run(**options)
    assert (result["failed"], result["msg"]) == (True, message)
    assert guest.texts == TEXTS


def test_a_domain_that_a_job_holds_is_left_alone_unless_nothing_is_to_be_changed(run: Run, guest: Guest) -> None:
    guest.job = {"type": 1, "operation": 6}
    assert run(tags=["db"])["msg"].endswith("Its tags are not changed meanwhile.")
    assert not run(tags=["web"])["changed"]
    assert guest.texts == TEXTS


def test_what_libvirt_does_not_keep_is_an_error(run: Run, guest: Guest) -> None:
    guest.ignores.add("setMetadata")
    assert run(tags=["db"])["msg"] == "The metadata of web-1 was written, and libvirt shows something else."
