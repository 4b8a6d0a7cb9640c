# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""HPL, the Linpack benchmark: its input files for some nodes, and the result from its output.

Sources: TUNING of HPL 2.0 (size, block and grid), README of HPC Challenge 1.5 (the file hpccinf.txt).
"""

from __future__ import annotations

import math
import re
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, read, required, text, whole

_MIB = 2**20
_WORD_BYTES = 8
# What a process of MPI has in memory besides its part of the matrix, roughly.
_PROCESS_MIB = 32.0
_VERDICT = re.compile(r"\|\|Ax-b\|\|_oo/\(.*\)= +(?P<residual>\S+) \.+ (?P<verdict>PASSED|FAILED)")
_RUN = re.compile(
    r"^(?P<variant>W[RC]\w+) +(?P<n>\d+) +(?P<nb>\d+) +(?P<p>\d+) +(?P<q>\d+) +(?P<seconds>\S+) +(?P<gflops>\S+)\s*$",
    re.MULTILINE,
)
_COMPLAINT = re.compile(r"^>>> (.+) <<<", re.MULTILINE)


@dataclass(frozen=True)
class Node:
    """One machine that takes part."""

    address: str = required(text)
    vcpus: int = required(whole(1))
    # What can be used, not what is there.
    memory_mib: float = required(number(0, above=True))


@dataclass(frozen=True)
class Size:
    """What HPL solves: a system of ``n`` equations in blocks of ``nb``, by ``p`` x ``q`` processes."""

    n: int
    nb: int
    p: int
    q: int
    matrix_mib: float


def hpl_input(nodes: t.Any, *, share: t.Any = 0.5, block: t.Any = 128, n: t.Any = None) -> dict[str, t.Any]:
    """The size of the problem for ``nodes`` (see Node), and the texts of the input file and of the host file.

    A process runs on each vCPU. ``share`` of the memory of the nodes is for the matrix, which all processes have an
    equal part of; so the node with the least memory for each vCPU decides. ``n`` sets the size, and then the memory is
    only looked at. Raises BalanceError.
    """
    if not isinstance(nodes, (list, tuple)) or not nodes:
        raise BalanceError("hpl_input needs a list of nodes with address, vcpus and memory_mib.")
    known = [read(Node, node, f"nodes[{index}]") for index, node in enumerate(nodes)]
    addresses = [node.address for node in known]
    if len(set(addresses)) < len(addresses):
        raise BalanceError("hpl_input needs nodes of which each has another address.")
    share = number(0, 1, above=True)(share, "share")
    block = whole(1)(block, "block")
    wanted = whole(1, nullable=True)(n, "n")
    processes = sum(node.vcpus for node in known)
    tightest = min(known, key=lambda node: node.memory_mib / node.vcpus)
    each = tightest.memory_mib / tightest.vcpus - _PROCESS_MIB
    room = max(0.0, each) * processes
    size = _size(wanted or _largest(room * share, block), block, processes)
    if not size.n:
        raise BalanceError(
            f"{tightest.address} has {tightest.memory_mib:.0f} MiB for {tightest.vcpus} processes: "
            f"not enough for one block of {block}."
        )
    if size.matrix_mib > room:
        raise BalanceError(
            f"A problem of {size.n} needs {size.matrix_mib / processes:.0f} MiB in each of {processes} processes, "
            f"and {tightest.address} has {max(0.0, each):.0f}."
        )
    return {
        **asdict(size),
        "processes": processes,
        "input": _input_file(size),
        "host_file": "".join(f"{node.address} slots={node.vcpus}\n" for node in known),
    }


def _largest(matrix_mib: float, block: int) -> int:
    """The largest whole number of blocks whose square matrix of doubles fits."""
    return int(math.sqrt(matrix_mib * _MIB / _WORD_BYTES)) // block * block


def _size(n: int, block: int, processes: int) -> Size:
    # HPL wants a grid as square as can be, and flat rather than tall.
    p = max(rows for rows in range(1, math.isqrt(processes) + 1) if processes % rows == 0)
    return Size(n, min(block, max(n, 1)), p, processes // p, round(n * n * _WORD_BYTES / _MIB, 1))


def _input_file(size: Size) -> str:
    """HPL.dat, which hpcc reads as hpccinf.txt; each line counts by its place, what follows the value is for people."""
    lines = [
        ("HPL by virtops.balance", ""),
        ("one problem, one grid", ""),
        ("HPL.out", "file, where it is one"),
        (6, "6 = standard output"),
        (1, "how many sizes"),
        (size.n, "N"),
        (1, "how many blocks"),
        (size.nb, "NB"),
        (0, "processes by row"),
        (1, "how many grids"),
        (size.p, "P"),
        (size.q, "Q"),
        (16.0, "largest residual"),
        (1, "how many panel factorisations"),
        (2, "right-looking"),
        (1, "how many stops of the recursion"),
        (4, "NBMIN"),
        (1, "how many panels in the recursion"),
        (2, "NDIV"),
        (1, "how many recursive factorisations"),
        (1, "Crout"),
        (1, "how many broadcasts"),
        (1, "ring, modified"),
        (1, "how many depths of looking ahead"),
        (1, "depth"),
        (2, "swapping: mixed"),
        (64, "where it changes over"),
        (0, "L transposed"),
        (0, "U transposed"),
        (1, "equilibration"),
        (8, "alignment in doubles"),
    ]
    return "".join(f"{value!s:<12} {said}".rstrip() + "\n" for value, said in lines)


def hpl_result(output: t.Any) -> dict[str, t.Any]:
    """The result of HPL or hpcc from its output. Of several runs, it is the fastest that passed its check.

    Raises BalanceError if the output has no result.
    """
    if not isinstance(output, str):
        raise BalanceError("hpl_result needs the output of HPL or hpcc as text.")
    runs = []
    # What follows a run up to the next one is its check.
    found = list(_RUN.finditer(output))
    ends = [run.start() for run in found[1:]] + [len(output)]
    for run, end in zip(found, ends, strict=False):
        gflops, verdict = _figure(run["gflops"]), _VERDICT.search(output, run.end(), end)
        if gflops is not None:
            runs.append(
                {
                    **{name: int(run[name]) for name in ("n", "nb", "p", "q")},
                    "processes": int(run["p"]) * int(run["q"]),
                    "seconds": _figure(run["seconds"]),
                    "gflops": gflops,
                    "residual": _figure(verdict["residual"]) if verdict else None,
                    "passed": bool(verdict and verdict["verdict"] == "PASSED"),
                }
            )
    if not runs:
        complaint = _COMPLAINT.search(output)
        said = f": {complaint[1]}" if complaint else ", and does not say why"
        raise BalanceError(f"HPL gave no result{said}.")
    return max(runs, key=lambda run: (run["passed"], run["gflops"]))


def _figure(word: str) -> float | None:
    """A number, null for what HPL writes where it has none (nan, inf, stars)."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
