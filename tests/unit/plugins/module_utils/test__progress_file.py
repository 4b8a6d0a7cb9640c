# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib

from ansible_collections.virtops.balance.plugins.module_utils._progress_file import ProgressFile


def test_it_is_replaced_as_a_whole_and_removed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "made" / "progress.json"
    with ProgressFile(str(path)) as progress:
        progress.write({"percent": 1})
        progress.write({"percent": 2})
        assert json.loads(path.read_text()) == {"percent": 2, "pid": os.getpid()}
        assert list(path.parent.iterdir()) == [path]
    assert not path.exists()


def test_without_a_path_there_is_none() -> None:
    with ProgressFile(None) as progress:
        progress.write({"percent": 1})


def test_a_place_that_cannot_be_written_does_no_harm(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with ProgressFile(str(tmp_path / "file" / "progress.json")) as progress:
        progress.write({"percent": 1})
