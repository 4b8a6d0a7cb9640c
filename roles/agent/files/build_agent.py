# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Put what the agent is made of into one file that Python runs: build_agent.py DESTINATION.

The modules keep the path under which the collection imports them. The file is the same, byte by byte, wherever it is
made, so that an agent is restarted only when its code has changed.
"""

from __future__ import annotations

import pathlib
import sys
import zipfile

COLLECTION = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections/virtops/balance/plugins/module_utils"
MAIN = """\
import sys

from ansible_collections.virtops.balance.plugins.module_utils._agent.process import main

sys.exit(main())
"""


def build(destination: pathlib.Path) -> None:
    files = {"__main__.py": MAIN.encode()}
    folder = COLLECTION / "plugins" / "module_utils"
    for source in folder.rglob("*.py"):
        name = pathlib.PurePosixPath(PACKAGE, source.relative_to(folder).as_posix())
        files[str(name)] = source.read_bytes()
        for package in name.parents[:-1]:
            files.setdefault(f"{package}/__init__.py", b"")
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f"{destination.name}.new")
    # Not compressed: what a compressor makes differs between versions.
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            # The earliest time that the format knows, for all of them.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name])
    temporary.replace(destination)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: build_agent.py DESTINATION")
    build(pathlib.Path(sys.argv[1]))
