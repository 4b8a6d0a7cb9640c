# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The shapes of what hosts answer and of the report. A check says what is wrong with a value, so that everything else
may take it for what it is meant to be: an answer may have been damaged, or made by something else.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Callable, Mapping, Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown

Check = Callable[[t.Any, str], str | None]
"""Takes a value and what it is called; returns what is wrong with it, as a clause, null where nothing is."""

_LARGEST = 1e15
_VERSION = re.compile(r"\d{1,9}(\.\d{1,9})*")
_PORT_TEXT = re.compile(r"[0-9]{1,5}")
_PORTS = 65535


def _is(word: str, fits: Callable[[t.Any], bool]) -> Check:
    def check(value: t.Any, name: str) -> str | None:
        return None if fits(value) else f"{name} is {shown(value)} and not {word}"

    return check


def _number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST


def _port(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _PORTS


def _two_ports(value: t.Any) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(map(_port, value)) and value[0] <= value[1]


def _ports_by_name(value: t.Any) -> bool:
    return isinstance(value, Mapping) and all(
        _PORT_TEXT.fullmatch(str(port)) and isinstance(found, str) for port, found in value.items()
    )


_ANYTHING = _is("anything", lambda value: True)
_TEXT = _is("a text", lambda value: isinstance(value, str))
_NUMBER = _is("a number", _number)
_FLAG = _is("true or false", lambda value: isinstance(value, bool))
_VERSION_TEXT = _is("a version", lambda value: isinstance(value, str) and _VERSION.fullmatch(value) is not None)
_PORT = _is("a port", _port)


def _or_null(check: Check) -> Check:
    return lambda value, name: None if value is None else check(value, name)


def _list(check: Check) -> Check:
    def whole(value: t.Any, name: str) -> str | None:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return f"{name} is {shown(value)} and not a list"
        return next(filter(None, (check(one, f"{name}[{place}]") for place, one in enumerate(value))), None)

    return whole


def _by_name(check: Check) -> Check:
    def whole(value: t.Any, name: str) -> str | None:
        if not isinstance(value, Mapping):
            return f"{name} is {shown(value)} and not a mapping"
        return next(filter(None, (check(one, f"{name}.{key}") for key, one in value.items())), None)

    return whole


def _parts(checks: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """A mapping with these keys; more keys do no harm."""

    def whole(value: t.Any, name: str) -> str | None:
        if not isinstance(value, Mapping):
            return f"{name or 'it'} is {shown(value)} and not a mapping"
        for key, check in {**checks, **(optional or {})}.items():
            called = f"{name}.{key}" if name else key
            if key in value:
                problem = check(value[key], called)
                if problem is not None:
                    return problem
            elif key in checks:
                return f"{called} is missing"
        return None

    return whole


_NAMES = _list(_TEXT)
_TEXT_OR_NULL = _or_null(_TEXT)

_ABOUT = _parts(
    {
        "hostname": _TEXT_OR_NULL,
        "uuid": _TEXT_OR_NULL,
        "user": _TEXT_OR_NULL,
        "hypervisor": _parts({"type": _TEXT_OR_NULL, "version": _or_null(_VERSION_TEXT)}),
        "libvirt_version": _or_null(_VERSION_TEXT),
        "cpu": _parts({"arch": _TEXT_OR_NULL, "model": _TEXT_OR_NULL, "for_guests": _by_name(_TEXT)}),
        "domain_types": _or_null(_NAMES),
        "machine_types": _or_null(_by_name(_NAMES)),
        "networks": _or_null(
            _list(_parts({"name": _TEXT, "active": _or_null(_FLAG), "bridge": _TEXT_OR_NULL})),
        ),
        "bridges": _or_null(_NAMES),
        "pools": _or_null(
            _list(
                _parts(
                    {
                        "name": _TEXT,
                        "path": _TEXT_OR_NULL,
                        "type": _TEXT_OR_NULL,
                        "active": _or_null(_FLAG),
                        "shared": _or_null(_FLAG),
                    }
                )
            )
        ),
        "secrets": _or_null(_list(_parts({"uuid": _TEXT, "type": _TEXT, "usage": _TEXT_OR_NULL}))),
        "memory": _or_null(_parts({"available_mib": _or_null(_NUMBER)})),
        "needs": _or_null(
            _parts(
                {
                    "things": _list(_parts({"kind": _TEXT, "name": _TEXT, "domains": _NAMES})),
                    "memory_mib": _by_name(_NUMBER),
                }
            )
        ),
        "migration": _or_null(
            _parts(
                {
                    "host": _TEXT_OR_NULL,
                    "ports": _is("a first and a last port", _two_ports),
                    "listening": _or_null(_list(_PORT)),
                }
            )
        ),
        "lease": _TEXT_OR_NULL,
        "asleep": _NAMES,
        "migration_uri": _TEXT,
        "migrate_uri": _TEXT_OR_NULL,
        "shared_paths": _NAMES,
        "clock": _parts({"started_at": _NUMBER, "ended_at": _NUMBER}),
    }
)

_PEER = _parts(
    {
        "connection": _parts(
            {
                "uri": _TEXT,
                "transport": _TEXT_OR_NULL,
                "user": _TEXT_OR_NULL,
                "host": _TEXT_OR_NULL,
                "port": _or_null(_PORT),
                "default_port": _or_null(_PORT),
                "problem": _TEXT_OR_NULL,
                "timeout": _or_null(_FLAG),
            },
            # A connection that failed has none.
            {
                "hostname": _TEXT_OR_NULL,
                "cpus_missing": _or_null(_list(_parts({"domains": _NAMES, "missing": _TEXT}))),
            },
        ),
        "address": _or_null(
            _parts(
                {
                    "host": _TEXT,
                    "resolved": _NAMES,
                    "problem": _TEXT_OR_NULL,
                    "loopback": _or_null(_FLAG),
                    "ports": _is("a mapping of ports to texts", _ports_by_name),
                }
            )
        ),
    }
)


def _peer(value: t.Any, name: str) -> str | None:
    if isinstance(value, Mapping) and "not_asked" in value:
        return _TEXT(value["not_asked"], f"{name}.not_asked")
    return _PEER(value, name)


_PEERS = _parts(
    {},
    {
        "peers": _or_null(_by_name(_peer)),
        "paths": _or_null(_by_name(_parts({"sees": _or_null(_NAMES)}))),
        "baselines": _or_null(_list(_parts({"number": _NUMBER, "xml": _TEXT_OR_NULL, "problem": _TEXT_OR_NULL}))),
    },
)
_CONTROLLER = _or_null(_parts({"asked_at": _NUMBER, "answered_at": _NUMBER}))
_WRITTEN = _or_null(_by_name(_parts({"kind": _TEXT_OR_NULL, "written": _or_null(_FLAG), "problem": _TEXT_OR_NULL})))

_SENTENCES = _list(_parts({"topic": _TEXT, "sentence": _TEXT, "commands": _NAMES}))
_REPORT = _parts(
    {
        "verdict": _TEXT,
        "hosts": _list(
            _parts(
                {
                    "name": _TEXT,
                    "problem": _TEXT_OR_NULL,
                    "hypervisor": _ANYTHING,
                    "version": _ANYTHING,
                    "libvirt_version": _ANYTHING,
                    "cpu": _ANYTHING,
                    "available_mib": _ANYTHING,
                    "guests": _ANYTHING,
                    "clock_seconds": _or_null(_NUMBER),
                }
            )
        ),
        "matrix": _by_name(_by_name(_TEXT)),
        "legend": _by_name(_TEXT),
        "problems": _SENTENCES,
        "warnings": _SENTENCES,
        "notes": _NAMES,
        "cpus": _list(_parts({"hosts": _NAMES, "xml": _TEXT_OR_NULL, "problem": _TEXT_OR_NULL})),
    }
)


def about_problem(answer: t.Any) -> str | None:
    """What is wrong with what a host answered about itself."""
    return _ABOUT(answer, "")


def peers_problem(answer: t.Any) -> str | None:
    """What is wrong with what a host answered about the others."""
    return _PEERS(answer, "")


def controller_problem(value: t.Any) -> str | None:
    """What is wrong with the times at which the control node asked and was answered."""
    return _CONTROLLER(value, "controller")


def written_problem(value: t.Any) -> str | None:
    """What is wrong with what became of a host's test files."""
    return _WRITTEN(value, "paths")


def report_problem(report: t.Any) -> str | None:
    """What is wrong with a report."""
    problem = _REPORT(report, "")
    if problem is None and any(set(row) != set(report["matrix"]) for row in report["matrix"].values()):
        return "matrix is not as wide as it is high"
    return problem
