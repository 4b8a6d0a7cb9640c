# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: calls of the operating system that may never come back, such as a look at a file on an NFS
server that is gone."""

from __future__ import annotations

import threading
import typing as t

T = t.TypeVar("T")


class NoAnswerError(Exception):
    """The call did not come back in time. It may still be running in its thread."""


def within(seconds: float, call: t.Callable[[], T]) -> T:
    """Return what RV(call) returns, or raise NoAnswerError after so many seconds.

    After the deadline the call is left alone, in a thread that does not keep the process from ending.
    """
    answers: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits for it
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise NoAnswerError
    return answers[0]
