# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.readers.csv_rows import (
    name_domains,
    read_csv,
    read_hosts_csv,
    read_rows,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import DomainSample
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError

HEAD = "time,host,domain,cores,ready,memory_mib\n"
ROW = "2026-01-31T12:00:00Z,kvm1,web-1,0.5,0.2,2048\n"
NOON = 1769860800.0


def test_rows_are_samples() -> None:
    samples = read_csv(f"{HEAD}{ROW}1769861100,kvm2,web-1,0.25,,\n", "load.csv")
    assert samples.domains == [
        DomainSample(NOON, "kvm1", "web-1", "web-1", 0.5, 0.2, 2048.0),
        DomainSample(NOON + 300, "kvm2", "web-1", "web-1", 0.25, None, None),
    ]


def test_columns_in_another_order_and_vcpus_are_read() -> None:
    text = "domain,vcpus,host,time,memory_mib,ready,cores\nweb-1,4,kvm1,2026-01-31T12:00:00Z,2048,0,1\n"
    assert read_csv(text, "load.csv").domains == [DomainSample(NOON, "kvm1", "web-1", "web-1", 1.0, 0.0, 2048.0, 4)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "load.csv, line 1: the columns must be time,host,domain,cores,ready,memory_mib, and it has none."),
        (
            "time;host\n",
            (
                "load.csv, line 1: the columns must be time,host,domain,cores,ready,memory_mib, and it has time;host. "
                "Separate them by commas, not semicolons."
            ),
        ),
        (
            HEAD.replace("\n", ",colour\n"),
            (
                "load.csv, line 1: there is no column 'colour'. There are "
                "time,host,domain,cores,ready,memory_mib and if you like vcpus."
            ),
        ),
        (HEAD, "load.csv has no row."),
        ("x" * 200_000, "load.csv, line 1: it is no CSV: field larger than field limit (131072)."),
        (HEAD + ROW.replace("0.5", "1e99"), "load.csv, line 2: cores must be a number of at least 0, not '1e99'."),
        (f"{HEAD}{ROW}a,b\n", "load.csv, line 3: it has 2 values, and there are 6 columns."),
        (
            HEAD + ROW.replace("2026-01-31T12:00:00Z", "yesterday"),
            (
                "load.csv, line 2: time must be such as 2026-01-31T12:00:00Z (with a time zone: Z is UTC), or in "
                "seconds since 1970, not 'yesterday'."
            ),
        ),
        (
            HEAD + ROW.replace("12:00:00Z", "12:00:00"),
            (
                "load.csv, line 2: time must be such as 2026-01-31T12:00:00Z (with a time zone: Z is UTC), or in "
                "seconds since 1970, not '2026-01-31T12:00:00'."
            ),
        ),
        (HEAD + ROW.replace("web-1", ""), "load.csv, line 2: domain must be a name, not ''."),
        (HEAD + ROW.replace("0.5", "half"), "load.csv, line 2: cores must be a number of at least 0, not 'half'."),
        (HEAD + ROW.replace("0.5", ""), "load.csv, line 2: cores must be a number of at least 0, not ''."),
        (HEAD + ROW.replace("0.5", "nan"), "load.csv, line 2: cores must be a number of at least 0, not 'nan'."),
        (
            HEAD + ROW.replace("0.2", "20"),
            "load.csv, line 2: ready must be a number from 0 to 1 or empty, not '20'. Write 0.2 for 20 %.",
        ),
        (
            HEAD + ROW.replace("0.2", "200"),
            "load.csv, line 2: ready must be a number from 0 to 1 or empty, not '200'.",
        ),
        (
            HEAD + ROW.replace("0.5", '"0,5"'),
            "load.csv, line 2: cores must be a number of at least 0, not '0,5'. Write 0.5, not 0,5.",
        ),
        (
            HEAD + ROW.replace("0.5", "0,5"),
            "load.csv, line 2: it has 7 values, and there are 6 columns. Write 0.75, not 0,75.",
        ),
        (
            HEAD + ROW + "\n" + ROW.replace("kvm1", "kvm2"),
            "load.csv, line 4: web-1 has a row of the same time already, line 2. A domain is on one host at a time.",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_line(text: str, problem: str) -> None:
    with pytest.raises(SnapshotError) as error:
        read_csv(text, "load.csv")
    assert str(error.value) == problem


def test_rows_of_data_are_told_by_number() -> None:
    row = {"time": "2026-01-31T12:00:00Z", "host": "kvm1", "domain": "web-1", "cores": True, "memory_mib": 1}
    with pytest.raises(SnapshotError, match=r"^The rows, row 1: cores must be a number of at least 0, not true\.$"):
        read_rows([(1, row)], "The rows")


@pytest.mark.parametrize("key", ["time", "cores", "ready", "memory_mib", "vcpus"])
def test_a_whole_number_that_is_too_large_is_told(key: str) -> None:
    row = {"time": NOON, "host": "kvm1", "domain": "web-1", "cores": 1, "ready": 0, "memory_mib": 1, key: 10**400}
    with pytest.raises(SnapshotError, match=f"rows, row 1: {key} must be"):
        read_rows([(1, row)], "rows")


def test_hosts_are_facts_of_a_snapshot() -> None:
    text = "host,threads,memory_mib,idle_watts,max_watts\nkvm1,8,65536,90,250\nkvm2,16,131072,,\n"
    assert read_hosts_csv(text, "hosts.csv") == {
        "kvm1": {
            "cpu": {"threads": 8},
            "memory": {"total_mib": 65536.0},
            "speed": None,
            "power_model": {"idle_watts": 90.0, "max_watts": 250.0},
        },
        "kvm2": {
            "cpu": {"threads": 16},
            "memory": {"total_mib": 131072.0},
            "speed": None,
            "power_model": None,
        },
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("host,threads\n", "hosts.csv, line 1: the columns must be host,threads,memory_mib, and it has host,threads."),
        (
            "host,threads,memory_mib\nkvm1,2.5,1\n",
            "hosts.csv, line 2: threads must be a whole number of at least 1, not '2.5'.",
        ),
        (
            "host,threads,memory_mib\nkvm1,0,1\n",
            "hosts.csv, line 2: threads must be a whole number of at least 1, not '0'.",
        ),
        (
            "host,threads,memory_mib,idle_watts,max_watts\nkvm1,1,1,90,\n",
            "hosts.csv, line 2: idle_watts and max_watts belong together, and one of them is empty.",
        ),
        (
            "host,threads,memory_mib\nkvm1,1,1\nkvm2,1,1\nkvm1,2,1\n",
            "hosts.csv, line 4: there is a row of kvm1 already.",
        ),
        ("host,threads,memory_mib\nkvm1,1,0\n", "hosts.csv, line 2: memory_mib must be a number above 0, not '0'."),
        (
            "host,threads,memory_mib,speed\nkvm1,1,1,0\n",
            "hosts.csv, line 2: speed must be a number above 0 or empty, not '0'.",
        ),
    ],
)
def test_what_is_wrong_with_hosts_is_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(SnapshotError) as error:
        read_hosts_csv(text, "hosts.csv")
    assert str(error.value) == problem


def test_domains_are_known_by_the_uuid_of_their_name() -> None:
    samples = read_csv(f"{HEAD}{ROW}{ROW.replace('web-1', 'twin')}", "load.csv")
    samples.domain_facts = {"u-1": {"name": "web-1"}, "u-2": {"name": "twin"}, "u-3": {"name": "twin"}}
    name_domains(samples)
    assert [sample.uuid for sample in samples.domains] == ["u-1", "twin"]
