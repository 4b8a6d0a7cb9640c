# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Programs of other projects that tests run the collection with, see requirements/tools.txt."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements" / "tools.txt"
PLACE = ROOT / ".cache" / "tools"


def tool(name: str) -> Path:
    """One of the programs; the environment that they are in is made where it is missing or has become old."""
    with open(ROOT / ".cache" / "tools.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made_from = PLACE / ".made-from"
        wanted = f"{PLACE} {sys.version}\n{REQUIREMENTS.read_text(encoding='utf-8')}"
        if not made_from.exists() or made_from.read_text(encoding="utf-8") != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", PLACE], check=True)
            install = [PLACE / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS]
            subprocess.run(install, check=True)
            made_from.write_text(wanted, encoding="utf-8")
    return PLACE / "bin" / name


def path() -> str:
    """A PATH with these programs, and before them Ansible as the tests have it."""
    return os.pathsep.join([str(Path(sys.executable).parent), str(PLACE / "bin"), os.environ["PATH"]])
