# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A recording in rows ``time,host,domain,cores,ready,memory_mib``, one for each domain and time, as CSV or as data."""

from __future__ import annotations

import csv
import io
import math
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import DomainSample, Samples
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.history import LARGEST
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

Row = Mapping[str, t.Any]

COLUMNS = ("time", "host", "domain", "cores", "ready", "memory_mib")
MORE_COLUMNS = ("vcpus",)
HOST_COLUMNS = ("host", "threads", "memory_mib")
MORE_HOST_COLUMNS = ("speed", "idle_watts", "max_watts")
_COMMA = re.compile(r"\d+,\d+$")
_DECADE = 3.0e8
"""A time below, in seconds since 1970, is none: it would be before 1979."""


def read_csv(text: str, what: str) -> Samples:
    """Read the rows of domains; ``what`` is what errors call the text. Raises SnapshotError with the line."""
    return read_rows(_lines(text, what, COLUMNS, MORE_COLUMNS), what, "line")


def read_rows(rows: Iterable[tuple[int, Row]], what: str, unit: str = "row") -> Samples:
    """Read numbered rows. Raises SnapshotError for the first that is wrong.

    ``domain`` is a name or a UUID. ``ready`` may be empty, and so may ``memory_mib`` where another row of the domain
    has it. ``vcpus`` may be there besides.
    """
    samples = Samples()
    seen: dict[tuple[float, str], int] = {}
    for number, row in rows:
        where = f"{what}, {unit} {number}"
        domain = _name(row, "domain", where)
        at = _time(row.get("time"), where)
        first = seen.setdefault((at, domain), number)
        if first != number:
            raise SnapshotError(
                f"{where}: {domain} has a row of the same time already, {unit} {first}. A domain is on "
                "one host at a time."
            )
        samples.domains.append(
            DomainSample(
                at=at,
                host=_name(row, "host", where),
                uuid=domain,
                name=domain,
                cores=_number(row, "cores", where),
                ready=_number(row, "ready", where, most=1.0, optional=True),
                memory_mib=_number(row, "memory_mib", where, optional=True),
                vcpus=_whole(row, "vcpus", where) if row.get("vcpus") not in (None, "") else None,
            )
        )
    if not samples.domains:
        raise SnapshotError(f"{what} has no row.")
    return samples


def read_hosts_csv(text: str, what: str) -> dict[str, dict[str, t.Any]]:
    """Read rows ``host,threads,memory_mib``, and if there are ``speed,idle_watts,max_watts``, into facts as a
    snapshot has them. Raises SnapshotError with the line."""
    facts: dict[str, dict[str, t.Any]] = {}
    for number, row in _lines(text, what, HOST_COLUMNS, MORE_HOST_COLUMNS):
        where = f"{what}, line {number}"
        name, threads = _name(row, "host", where), _whole(row, "threads", where)
        if name in facts:
            raise SnapshotError(f"{where}: there is a row of {name} already.")
        idle, most = (_number(row, key, where, optional=True) for key in ("idle_watts", "max_watts"))
        if (idle is None) != (most is None):
            raise SnapshotError(f"{where}: idle_watts and max_watts belong together, and one of them is empty.")
        facts[name] = {
            "cpu": {"threads": threads},
            "memory": {"total_mib": _number(row, "memory_mib", where, above=True)},
            "speed": _number(row, "speed", where, optional=True, above=True),
            "power_model": None if idle is None else {"idle_watts": idle, "max_watts": most},
        }
    return facts


def name_domains(samples: Samples) -> None:
    """Where domains were told by name, know them by the UUID that the facts have for that name, if only one has it."""
    uuids: dict[str, list[str]] = {}
    for uuid, facts in samples.domain_facts.items():
        uuids.setdefault(str(facts.get("name")), []).append(uuid)
    known = {name: found[0] for name, found in uuids.items() if len(found) == 1}
    samples.domains = [sample._replace(uuid=known.get(sample.uuid, sample.uuid)) for sample in samples.domains]


def _lines(text: str, what: str, columns: Sequence[str], more: Sequence[str]) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    try:
        head = [title.strip() for title in next(reader, [])]
    except csv.Error as error:
        raise SnapshotError(f"{what}, line 1: it is no CSV: {error}.") from None
    lacking = [column for column in columns if column not in head]
    if lacking or len(set(head)) != len(head):
        raise SnapshotError(
            f"{what}, line 1: the columns must be {','.join(columns)}, and it has {','.join(head)[:80] or 'none'}."
            + " Separate them by commas, not semicolons." * (len(head) == 1 and ";" in head[0])
        )
    unknown = [title for title in head if title not in (*columns, *more)]
    if unknown:
        optional = f" and if you like {','.join(more)}" if more else ""
        raise SnapshotError(
            f"{what}, line 1: there is no column {unknown[0]!r}. There are {','.join(columns)}{optional}."
        )
    try:
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(head):
                raise SnapshotError(
                    f"{what}, line {reader.line_num}: it has {len(cells)} values, and there are {len(head)} columns."
                    + " Write 0.75, not 0,75." * (len(cells) > len(head))
                )
            yield reader.line_num, dict(zip(head, map(str.strip, cells), strict=True))
    except csv.Error as error:
        raise SnapshotError(f"{what}, line {reader.line_num}: it is no CSV: {error}.") from None


def _name(row: Row, key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise SnapshotError(f"{where}: {key} must be a name, not {shown(value)}.")
    return value


def _whole(row: Row, key: str, where: str) -> int:
    found = _number(row, key, where)
    if not found or found != int(found):
        raise SnapshotError(f"{where}: {key} must be a whole number of at least 1, not {shown(row.get(key))}.")
    return int(found)


def _number(
    row: Row, key: str, where: str, *, most: float = math.inf, optional: bool = False, above: bool = False
) -> float | None:
    """A number of at least 0 (not included with ``above``)."""
    value = row.get(key)
    if optional and value in (None, ""):
        return None
    try:
        found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # what fails is told
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not 0 <= found <= min(most, LARGEST) or (above and not found):
        least = "above 0" if above else "of at least 0"
        span = least if most == math.inf else f"from 0 to {most:g}"
        raise SnapshotError(
            f"{where}: {key} must be a number {span}{' or empty' * optional}, not {shown(value)}.{_meant(value, most)}"
        )
    return found


def _meant(value: t.Any, most: float) -> str:
    """How a number is written, where it is seen what was meant."""
    if isinstance(value, str) and _COMMA.match(value):
        return f" Write {value.replace(',', '.')}, not {value}."
    try:
        points = float(value)
    except (TypeError, ValueError, OverflowError):
        return ""
    return f" Write {points / 100:g} for {points:g} %." if most == 1.0 and 1.0 < points <= 100.0 else ""


def _time(value: t.Any, where: str) -> float:
    """Seconds since 1970 of a time in RFC 3339, or of such seconds."""
    try:
        seconds = float(value)
        if _DECADE <= seconds <= datetime(9999, 1, 1, tzinfo=UTC).timestamp():
            return seconds
    except (TypeError, ValueError, OverflowError):
        moment = parse(str(value))
        if moment is not None:
            return moment.timestamp()
    raise SnapshotError(
        f"{where}: time must be such as 2026-01-31T12:00:00Z (with a time zone: Z is UTC), or in seconds since 1970, "
        f"not {shown(value)}."
    )
