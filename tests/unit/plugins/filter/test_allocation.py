# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.filter.allocation import allocate
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import DomainRequest, HostOffer
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import strategies

DOCUMENTATION = yaml.safe_load(
    (pathlib.Path(__file__).resolve().parents[4] / "plugins" / "filter" / "allocate.yml").read_text(encoding="utf-8")
)["DOCUMENTATION"]
PROBLEM = {
    "hosts": {"kvm1": {"cores": 4, "memory_mib": 8192}},
    "domains": {"db": {"cpu_min": 1, "cpu_max": 3, "memory_mib": 4096}, "web": {"cpu_max": 2, "memory_mib": 8192}},
}


@pytest.mark.parametrize("problem", [PROBLEM, json.dumps(PROBLEM)])
def test_plain_in_plain_out(problem: t.Any) -> None:
    found = allocate(problem, "greedy_max")
    assert json.loads(json.dumps(found)) == found
    assert found["domains"]["db"] == {"host": "kvm1", "cpu_cores": 3.0, "reason": None}
    assert found["domains"]["web"]["host"] is None
    assert found["domains"]["web"]["reason"] == {
        "constraint": "room",
        "message": "No host that may take it has room for 2 cores and 8192 MiB.",
    }


@pytest.mark.parametrize(
    ("problem", "strategy", "parameters", "message"),
    [
        ("{", "greedy_max", None, "The problem is a text that is not valid JSON: "),
        (PROBLEM, "greedy", None, "strategy cannot be 'greedy': did you mean "),
        (PROBLEM, 3, None, "strategy cannot be 3: "),
        (PROBLEM, "first_fit", {"fill": None}, "parameters.fill must be a number above 0 and at most 1, not null."),
    ],
)
def test_mistakes(problem: t.Any, strategy: t.Any, parameters: t.Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        allocate(problem, strategy, parameters)
    assert str(caught.value).startswith(message)


def test_documentation_names_everything() -> None:
    options = DOCUMENTATION["options"]
    assert sorted(options["strategy"]["choices"]) == sorted(strategies())
    documented = options["_input"]["suboptions"]
    assert sorted(documented["hosts"]["suboptions"]) == sorted(HostOffer.__dataclass_fields__)
    assert sorted(documented["domains"]["suboptions"]) == sorted(DomainRequest.__dataclass_fields__)
    said = " ".join(options["parameters"]["description"])
    for _function, parameters in strategies().values():
        for name, field in parameters.__dataclass_fields__.items():
            default = str(field.default).lower().removesuffix(".0")
            assert f"C({name}) ({default})" in said
