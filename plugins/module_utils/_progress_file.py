# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: a small file with the progress of a module."""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_printable


class ProgressFile:
    """A JSON document that is replaced as a whole, and removed at the end of the with block.

    Progress is a convenience: where the file cannot be written, the work goes on without it. Raises BalanceError where
    the path is that of something else.
    """

    def __init__(self, path: str | None) -> None:
        if path is not None:
            check_printable("progress_path", path)
            if os.path.lexists(path):
                raise BalanceError(f"progress_path must name a file that is not there yet, but {path} is.")
        self._path = path

    def __enter__(self) -> ProgressFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def write(self, document: t.Mapping[str, t.Any]) -> None:
        if self._path is None:
            return
        temporary = f"{self._path}.new"
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            with open(temporary, "w", encoding="utf-8") as file:
                # Whoever reads it can see by the process whether more is to come.
                json.dump({**document, "pid": os.getpid()}, file)
            os.replace(temporary, self._path)
