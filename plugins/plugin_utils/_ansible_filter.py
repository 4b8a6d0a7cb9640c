# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What all filters share: plain data in, and an error of the engine becomes one of Ansible or, if asked for, data."""

from __future__ import annotations

import functools
import inspect
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain, settings
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown

Filter = t.Callable[..., t.Any]
Reader = t.Callable[[t.Any], t.Any]
"""Makes plain data of an argument; may raise BalanceError."""

AS_DATA = "problem_as_data"


def json_of(what: str) -> Reader:
    """The reader of an argument that may be JSON text; ``what`` is what errors call it."""
    return functools.partial(document, what=what)


def yaml_of(what: str) -> Reader:
    """The reader of an argument that may be YAML text of a mapping; ``what`` is what errors call it."""
    return functools.partial(settings, what=what)


def mapping_of(what: str) -> Reader:
    """The reader of an argument that is a mapping, the JSON text of one, or null; ``what`` is what errors call it."""

    def reader(value: t.Any) -> dict[str, t.Any] | None:
        found = document(value, what)
        if found is None or isinstance(found, dict):
            return found
        raise BalanceError(f"{what} must be a mapping or null, not {shown(found)}.")

    return reader


def list_of(what: str, kind: type[str] | type[dict[str, t.Any]]) -> Reader:
    """The reader of an argument that is a list of names (str) or of mappings (dict); null is an empty one. ``what`` is
    what errors call it.
    """

    def reader(value: t.Any) -> list[t.Any]:
        found = [] if value is None else plain(value)
        if isinstance(found, list) and all(isinstance(one, kind) for one in found):
            return found
        raise BalanceError(f"{what} must be a list of {'names' if kind is str else 'mappings'}, not {shown(found)}.")

    return reader


def time(value: t.Any) -> t.Any:
    """The reader of a time as text, or null."""
    if value is not None and not isinstance(value, str):
        raise BalanceError(f"now must be a time such as 2026-01-31T12:00:00Z, not {value!r}.")
    return plain(value)


def as_filter(
    *, problem_as_data: bool = False, problem_as_list: bool = False, **readers: Reader
) -> t.Callable[[Filter], Filter]:
    """Make a filter of a function that takes plain data and may raise BalanceError.

    ``readers`` are by the name of the argument; the other arguments are made plain. The error is raised as
    AnsibleFilterError. With ``problem_as_data`` the filter has one more argument of that name, and if that is true, the
    error is returned as ``{"problem": message}``. With ``problem_as_list`` it is always returned as ``[message]``.
    """

    def decorate(function: Filter) -> Filter:
        signature = inspect.signature(function)
        if problem_as_data:
            signature = _with_flag(signature, AS_DATA)

        @functools.wraps(function)
        def filtered(*args: t.Any, **kwargs: t.Any) -> t.Any:
            given = signature.bind(*args, **kwargs).arguments
            returned = problem_as_data and given.pop(AS_DATA, False)
            try:
                return function(**{name: readers.get(name, plain)(value) for name, value in given.items()})
            except BalanceError as error:
                if returned:
                    return {"problem": str(error)}
                if problem_as_list:
                    return [str(error)]
                raise AnsibleFilterError(str(error)) from error

        # Callers and tests see the argument that only the filter has.
        filtered.__signature__ = signature  # type: ignore[attr-defined]
        return filtered

    return decorate


def _with_flag(signature: inspect.Signature, name: str) -> inspect.Signature:
    flag = inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False, annotation=bool)
    return signature.replace(parameters=[*signature.parameters.values(), flag])
