# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The targets of the Makefile as nox sessions, for those whose fingers know nox. The Makefile does the work."""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "unit", "build"]


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Run all linters."""
    session.run("make", "lint", external=True)


@nox.session(venv_backend="none")
def unit(session: nox.Session) -> None:
    """Run the unit tests."""
    session.run("make", "test-unit", external=True)


@nox.session(venv_backend="none")
def build(session: nox.Session) -> None:
    """Build the archive and use it."""
    session.run("make", "test-build", external=True)


@nox.session(venv_backend="none")
def lab(session: nox.Session) -> None:
    """Run the tests on the lab."""
    session.run("make", "test-lab", external=True)
