# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Tags in the metadata of a real domain, beside what somebody else keeps there, and after a migration."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab

GUEST = "web-1"
NAMESPACE = "urn:virtops:balance:1"
OTHER = "urn:example:other"


def metadata(lab: Lab, host: str, namespace: str, *where: str) -> str:
    return lab.virsh(host, "metadata", GUEST, namespace, *where, check=False)


@pytest.fixture
def noted(lab: Lab) -> t.Iterator[Lab]:
    """The guest has metadata of somebody else, and a state of the collection."""
    both = ("--live", "--config", "--set")
    lab.virsh("kvm1", "metadata", GUEST, OTHER, "--key", "other", *both, "<x>theirs</x>")
    note = '<state last_moved_at="2026-01-31T12:00:00Z"><later>kept</later></state>'
    lab.virsh("kvm1", "metadata", GUEST, NAMESPACE, "--key", "balance", *both, note)
    try:
        yield lab
    finally:
        for namespace in (OTHER, NAMESPACE):
            lab.virsh("kvm1", "metadata", GUEST, namespace, "--live", "--config", "--remove", check=False)


def test_tags_of_a_real_domain(noted: Lab) -> None:
    def tag(*, check: bool = False, **options: t.Any) -> t.Any:
        return noted.module("kvm1", "domain_tag", check=check, domain=GUEST, **options)

    assert tag(tags=["web", "a & b"], check=True)["changed"]
    assert "web" not in metadata(noted, "kvm1", NAMESPACE)
    done = tag(tags=["web", "a & b"], allocation={"cpu_min": 0.5})
    assert done["changed"]
    assert done["live"] == done["definition"] == {"tags": ["web", "a & b"], "allocation": {"cpu_min": 0.5}}
    assert not tag(tags=["web"])["changed"]

    for where in (("--live",), ("--config",)):
        text = metadata(noted, "kvm1", NAMESPACE, *where)
        assert "<tag>web</tag>" in text
        assert "a &amp; b" in text
        assert "<later>kept</later>" in text
        assert 'last_moved_at="2026-01-31T12:00:00Z"' in text
        assert "theirs" in metadata(noted, "kvm1", OTHER, *where)
    (seen,) = (
        domain
        for domain in noted.module("kvm1", "host_info", interval=0.1)["observation"]["domains"]
        if domain["name"] == GUEST
    )
    assert seen["tags"] == ["web", "a & b"]

    assert tag(tags=[], state="exact", allocation={})["changed"]
    assert "tag" not in metadata(noted, "kvm1", NAMESPACE, "--config")
