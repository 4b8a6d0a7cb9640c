# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters of the doctor: what hosts are asked about each other, and what their answers mean."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import Filter, as_filter, json_of
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.examine import examine
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.questions import make_questions
from ansible_collections.virtops.balance.plugins.plugin_utils._report.doctor_table import (
    doctor_table as make_doctor_table,
)


@as_filter(selves=json_of("What hosts say about themselves"))
def doctor_questions(selves: t.Any, run: t.Any) -> dict[str, t.Any]:
    """Return what each host is asked about all others."""
    return make_questions(selves, str(run))


@as_filter(
    selves=json_of("What hosts say about themselves"),
    peers=json_of("What hosts say about others"),
    written=json_of("What became of the test files"),
)
def doctor_report(selves: t.Any, peers: t.Any = None, written: t.Any = None) -> dict[str, t.Any]:
    """Return the report on all pairs of hosts."""
    return examine(selves, peers or {}, written or {})


@as_filter(report=json_of("The report"))
def doctor_table(report: t.Any) -> str:
    """Show the report as text for a terminal."""
    return make_doctor_table(report)


class FilterModule:
    """Filters of the doctor."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {
            "doctor_questions": doctor_questions,
            "doctor_report": doctor_report,
            "doctor_table": doctor_table,
        }
