# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Runs on a host: gives every option of every module of the collection values that make no sense.

Arguments: two JSON objects by the name of the module, the arguments that do make sense and change nothing, and its
options as they are documented. Prints a JSON list of ``[module, option, value, result]``. Each case is a process of its
own, as in a play.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import multiprocessing
import sys
import traceback
import typing as t

from ansible.module_utils.testing import patch_module_args

SECONDS = 30
WHOLE: list[t.Any] = [-1, "-7.5", "nan", 10**12, 10**40, "ten", "", [1], {"a": 1}]
# As a whole number, infinity ends Ansible's own check of arguments with a traceback, before the module is asked.
NUMBERS: list[t.Any] = [*WHOLE, "inf", "-inf"]
BOOLEANS: list[t.Any] = ["perhaps", 7, [], {}]
NAMES: list[t.Any] = [
    "",
    "web-1; touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "ünï ☃ 🐧",
    "../up",
    "--help",
    "a\nb",
    "a\0b",
    "x" * 5000,
    "{{ 7 * 7 }}",
    [],
    {},
]
LISTS: list[t.Any] = [5, {"a": 1}, [["a"]], [{"a": 1}], *([name] for name in NAMES if name)]
DICTS: list[t.Any] = ["x", {"unknown": 1}, {"": None}, *({"a": name} for name in NAMES)]
VALUES = {
    "int": WHOLE,
    "float": NUMBERS,
    "bool": BOOLEANS,
    "str": NAMES,
    "path": NAMES,
    "list": LISTS,
    "dict": DICTS,
    "raw": [*NUMBERS, *NAMES],
}
Json = dict[str, t.Any]


def run(module: str, arguments: Json) -> Json:
    """Run the module's main() and return what it printed, or what it should not have raised."""
    main = importlib.import_module(f"ansible_collections.virtops.balance.plugins.modules.{module}").main
    printed = io.StringIO()
    try:
        with patch_module_args(arguments), contextlib.redirect_stdout(printed):
            main()
    except SystemExit:
        found: Json = json.loads(printed.getvalue())
        return found
    except BaseException:  # noqa: BLE001 - whatever it is, it is what the test looks for
        return {"raised": traceback.format_exc()}
    return {"raised": "The module came to its end without a result."}


def cases(options: Json) -> t.Iterator[tuple[str, t.Any]]:
    for name, option in options.items():
        for value in ["nonsense"] if "choices" in option else VALUES[option["type"]]:
            yield name, value


def answer(module: str, arguments: Json, pipe: t.Any) -> None:
    pipe.send(run(module, arguments))


def main() -> None:
    results = []
    options = json.loads(sys.argv[2])
    for module, sane in json.loads(sys.argv[1]).items():
        for option, value in cases(options[module]):
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=answer, args=(module, {**sane, option: value}, theirs))
            process.start()
            result = ours.recv() if ours.poll(SECONDS) else {"raised": f"The module did not end within {SECONDS} s."}
            process.kill()
            process.join()
            results.append((module, option, value, result))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
