# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Programs of other projects that tests run the collection with, see requirements/tools.txt."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import typing as t
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"
PLACE = CACHE / "tools"


@contextlib.contextmanager
def made_from(place: Path, requirements: str) -> t.Iterator[bool]:
    """Whether what is in a place has to be made again, for one at a time; noted as made where nothing goes wrong."""
    wanted = f"{place} {sys.version}\n{requirements}"
    note = place / ".made-from"
    with open(f"{place}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not note.exists() or note.read_text(encoding="utf-8") != wanted
        note.write_text(wanted, encoding="utf-8")


def tool(name: str) -> Path:
    """One of the programs; the environment that they are in is made where it is missing or has become old."""
    requirements = ROOT / "requirements" / "tools.txt"
    with made_from(PLACE, requirements.read_text(encoding="utf-8")) as missing:
        if missing:
            subprocess.run([sys.executable, "-m", "venv", "--clear", PLACE], check=True)
            install: list[str | Path] = [PLACE / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement"]
            subprocess.run([*install, requirements], check=True)
    return PLACE / "bin" / name


def path() -> str:
    """A PATH with these programs, and before them Ansible as the tests have it."""
    return os.pathsep.join([str(Path(sys.executable).parent), str(PLACE / "bin"), os.environ["PATH"]])


def awx_collection() -> Path:
    """Where the collection awx.awx is, for ANSIBLE_COLLECTIONS_PATH."""
    place, requirements = CACHE / "awx", ROOT / "requirements" / "awx.txt"
    place.mkdir(exist_ok=True)
    with (
        made_from(place, requirements.read_text(encoding="utf-8")) as missing,
        tempfile.TemporaryDirectory(dir=place) as download,
    ):
        if missing:
            get = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                f"--dest={download}",
                "--requirement",
            ]
            subprocess.run([*get, requirements], check=True)
            (wheel,) = Path(download).glob("*.whl")
            with zipfile.ZipFile(wheel) as content:
                names = [name for name in content.namelist() if name.startswith("ansible_collections/awx/awx/")]
                content.extractall(place, names)
    return place
