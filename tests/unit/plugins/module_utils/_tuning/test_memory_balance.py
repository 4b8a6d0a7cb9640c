# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A round of memory balancing from samples to balloons, and what is said about those that do not take part."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import original_settings
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._observe.host import Clock
from ansible_collections.virtops.balance.plugins.module_utils._tuning.memory_balance import balance, settings_from
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_inside import (
    LIVE,
    Guest,
    InsideHost,
    api_for,
)
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture(autouse=True)
def _no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Run:
    """One round on a host whose /proc is files of the test; RV(swapped_out) and RV(swapped_in) are pages."""

    def call(
        host: InsideHost,
        *,
        available_mib: int | None = 4096,
        pressure: float | None = None,
        swapped_out: int = 0,
        swapped_in: int = 0,
        uri: str = "qemu:///system",
        check_mode: bool = False,
        **options: t.Any,
    ) -> dict[str, t.Any]:
        files = {"proc/vmstat": "pswpin 5\npswpout 5\n", "proc/meminfo": ""}
        if available_mib is not None:
            files["proc/meminfo"] = f"MemTotal: 8388608 kB\nMemAvailable: {available_mib * 1024} kB\n"
        if pressure is not None:
            files["proc/pressure/memory"] = f"some avg10=0.00 avg60={pressure * 100:.2f} avg300=0.00 total=0\n"
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        if available_mib is None:
            host.answers["getMemoryStats"] = {}

        def sleep(seconds: float) -> None:
            host.tick(seconds)
            (tmp_path / "proc/vmstat").write_text(f"pswpin {5 + swapped_in}\npswpout {5 + swapped_out}\n")

        clock = Clock(now=host.time, monotonic=host.time, sleep=sleep)
        options = {"interval": 5, **options}
        interval = options.pop("interval")
        return balance(
            api_for(host), uri, settings_from(options), interval=interval, check_mode=check_mode, clock=clock,
            root=str(tmp_path),
        )  # fmt: skip

    return call


def rich_and_poor(**poor: t.Any) -> tuple[InsideHost, Guest, Guest]:
    """One guest could use 784 MiB more, the other 60 of the 300 that it has of 1024."""
    host = InsideHost()
    return (
        host,
        host.add("rich"),
        host.add("poor", **{"current_mib": 300, "target_mib": 300, "used_mib": 200, **poor}),
    )


def moved(result: dict[str, t.Any]) -> dict[str, tuple[int, int]]:
    return {change["name"]: (change["before_mib"], change["after_mib"]) for change in result["changes"]}


def told(guest: Guest) -> list[int]:
    return [command[1] // 1024 for command in guest.commands if command[0] == "setMemoryFlags"]


def test_a_starving_guest_gets_memory(run: Run) -> None:
    host, rich, poor = rich_and_poor()

    would = run(host, check_mode=True)
    assert (rich.commands, poor.commands) == ([], [])
    done = run(host)

    assert done == would
    assert (done["changed"], moved(done)) == (True, {"poor": (300, 496)})
    assert done["changes"][0]["why"] == "poor could use 60 MiB more, less than 128 MiB."
    assert done["diff"] == {"before": {f"poor ({poor.uuid})": 300}, "after": {f"poor ({poor.uuid})": 496}}
    assert original_settings.parse_text(poor.texts[LIVE]).balloon_kib == 300 * 1024
    assert rich.commands == []
    assert not run(host)["changed"]


def test_the_rich_give_where_the_host_has_nothing(run: Run) -> None:
    host, rich, poor = rich_and_poor()
    done = run(host, available_mib=500)
    assert moved(done) == {"rich": (1024, 760)}
    assert [entry["name"] for entry in done["starving"]] == ["poor"]
    assert told(poor) == []
    # In the next round the host has what it was given.
    assert moved(run(host, available_mib=764))["poor"] == (300, 496)
    assert rich.current_mib - 40 - rich.used_mib >= 256


def test_only_as_much_is_taken_as_is_needed(run: Run) -> None:
    host, _rich, _poor = rich_and_poor()
    # 196 MiB are needed and 96 there.
    assert moved(run(host, available_mib=608)) == {"poor": (300, 396), "rich": (1024, 924)}


def test_everybody_gives_where_asked(run: Run) -> None:
    host, rich, _poor = rich_and_poor(used_mib=100)
    assert moved(run(host, reclaim="always")) == {"rich": (1024, 760)}
    for _round in range(20):
        run(host, reclaim="always")
    assert rich.current_mib - 40 - rich.used_mib == pytest.approx(256, abs=32)


@pytest.mark.parametrize(
    "short", [{"available_mib": 512}, {"available_mib": None}, {"pressure": 0.2}, {"swapped_out": 1290}], ids=str
)
def test_a_host_that_is_short_gives_nothing(run: Run, short: dict[str, t.Any]) -> None:
    host, _rich, poor = rich_and_poor()
    done = run(host, **short)
    assert told(poor) == []
    assert moved(done) == {"rich": (1024, 760)}


@pytest.mark.parametrize("little", [{"swapped_in": 9999}, {"swapped_out": 10}], ids=str)
def test_a_few_pages_in_swap_are_no_shortage(run: Run, little: dict[str, int]) -> None:
    host, _rich, _poor = rich_and_poor()
    assert moved(run(host, **little)) == {"poor": (300, 496)}


def test_figures_from_before_the_balloon_moved_do_not_count(run: Run) -> None:
    """What a guest could use before its last round gave it less would be taken from it a second time."""
    host = InsideHost()
    guest = host.add("rich", period=10, every=8)
    tick = host.tick

    def tick_and_move(seconds: float = 1.0) -> None:
        guest.target_mib = min(guest.target_mib, 600)
        tick(seconds)

    host.tick = tick_and_move  # type: ignore[method-assign] # as the round before this one had told it
    done = run(host, reclaim="always", factor=1.0)
    assert (guest.current_mib, done["changes"]) == (600, [])
    assert done["left_alone"][0]["reason"] == "The memory statistics of rich are from before its balloon moved."
    # Its next figures are of the new size: 360 are usable.
    assert moved(run(host, reclaim="always", factor=1.0)) == {"rich": (600, 496)}


def test_a_guest_that_swaps_starves_and_gives_nothing(run: Run) -> None:
    host, rich, poor = rich_and_poor(used_mib=60)
    tick = host.tick

    def tick_and_swap(seconds: float = 1.0) -> None:
        rich.swapped += 10
        poor.swapped += 10
        tick(seconds)

    host.tick = tick_and_swap  # type: ignore[method-assign] # both guests swap
    assert moved(run(host, reclaim="always")) == {"poor": (300, 356)}


LEFT = [
    ({"balloon": "none"}, "no_device", "poor has no balloon device."),
    ({"driver": False}, "no_driver", "poor reports nothing about its memory: the driver (virtio_balloon) in the guest"),
    ({"extra": "<memoryBacking><hugepages/></memoryBacking>"}, "hugepages", "huge pages"),
    ({"extra": "<devices><hostdev mode='subsystem' type='pci'/></devices>"}, "host_device", "device of the host"),
    ({"extra": "<launchSecurity type='sev'/>"}, "encrypted", "is encrypted"),
    ({"extra": "<devices><interface type='hostdev'/></devices>"}, "host_device", "device of the host"),
    ({"extra": "<devices><interface type='vdpa'/></devices>"}, "host_device", "device of the host"),
    ({"extra": "<devices><disk type='nvme'><source type='pci'/></disk></devices>"}, "host_device", "device of the"),
    ({"extra": "<memoryBacking><locked/></memoryBacking>"}, "locked", "is locked"),
    ({"extra": "<devices><memory model='virtio-mem'/></devices>"}, "virtio_mem", "virtio-mem"),
]


@pytest.mark.parametrize(("how", "code", "reason"), LEFT)
def test_who_cannot_take_part_is_named_always_and_warned_about_once(
    run: Run, how: dict[str, t.Any], code: str, reason: str
) -> None:
    host, _rich, poor = rich_and_poor()
    for name, value in how.items():
        setattr(poor, name, value)

    assert len(run(host, check_mode=True)["warnings"]) == 1
    assert poor.commands == []
    rounds = [run(host) for _number in range(3)]

    assert [len(result["warnings"]) for result in rounds] == [1, 0, 0]
    assert reason in rounds[0]["warnings"][0]
    for result in rounds:
        (left,) = result["left_alone"]
        assert (left["name"], left["code"]) == ("poor", code)
        assert reason in left["reason"]
    assert told(poor) == []
    assert [command[0] for command in poor.commands] == ["setMetadata"]


def test_a_driver_that_comes_later_takes_part(run: Run) -> None:
    host, _rich, poor = rich_and_poor(driver=False)
    run(host)
    poor.driver = True
    assert moved(run(host)) == {"poor": (300, 496)}
    assert original_settings.parse_text(poor.texts[LIVE]).balloon_problem is None
    poor.driver = False
    assert len(run(host)["warnings"]) == 1, "once more it is news"


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"reports": False, "updated": 999_000}, "stale"),
        ({"held": True}, "busy"),
    ],
)
def test_hands_off_without_a_warning(run: Run, how: dict[str, t.Any], code: str) -> None:
    host, _rich, poor = rich_and_poor()
    for name, value in how.items():
        setattr(poor, name, value)
    done = run(host)
    assert [(entry["name"], entry["code"]) for entry in done["left_alone"]] == [("poor", code)]
    assert (done["warnings"], poor.commands) == ([], [])


def test_a_job_of_libvirt(run: Run) -> None:
    host, _rich, poor = rich_and_poor(job={"type": 2, "operation": 5})
    done = run(host)
    assert [entry["reason"] for entry in done["left_alone"]] == ["Libvirt runs a job on poor (migration_out)."]
    assert (done["changed"], poor.commands) == (False, [])


def test_figures_are_collected_where_nobody_does(run: Run) -> None:
    host, _rich, poor = rich_and_poor(period=None)
    first = run(host, check_mode=True)
    assert [entry["code"] for entry in first["left_alone"]] == ["statistics_started"]
    assert poor.commands == []
    run(host, stats_period_seconds=3)
    assert poor.commands == [("setMemoryStatsPeriod", 3, LIVE)]
    assert moved(run(host)) == {"poor": (300, 496)}


def test_a_balloon_that_does_not_move_is_tried_again_after_an_hour(run: Run) -> None:
    host, _rich, poor = rich_and_poor(follows=0.0)

    first, second = run(host), run(host)
    assert [result["changed"] for result in (first, second)] == [False, False]
    assert [entry["code"] for entry in first["left_alone"]] == ["does_not_follow"]
    assert [len(result["warnings"]) for result in (first, second)] == [1, 0]
    assert told(poor) == [496, 300]

    host.now += 3600
    third = run(host)
    assert (told(poor), third["warnings"]) == ([496, 300] * 2, [])
    run(host)
    assert told(poor) == [496, 300] * 2, "for another hour"

    host.now += 3600
    poor.follows = 1.0
    assert moved(run(host)) == {"poor": (300, 496)}
    assert original_settings.parse_text(poor.texts[LIVE]).balloon_problem is None


def test_a_slow_balloon_goes_on_by_itself(run: Run) -> None:
    host, _rich, _poor = rich_and_poor(follows=0.05)
    done = run(host)
    assert done["changes"][0]["target_mib"] == 496
    assert 300 < done["changes"][0]["after_mib"] < 496
    assert done["warnings"] == []


def test_one_that_fails_keeps_no_other_from_its_turn(run: Run) -> None:
    host, _rich, poor = rich_and_poor(refuses={"setMemoryFlags": FakeLibvirtError(55, "no")})
    host.add("third", current_mib=300, target_mib=300)
    done = run(host)
    assert moved(done) == {"third": (300, 496)}
    assert [entry["reason"] for entry in done["left_alone"]] == ["Cannot balance the memory of poor: no."]
    assert poor.current_mib == 300


def test_a_guest_that_ends_meanwhile(run: Run) -> None:
    host, _rich, poor = rich_and_poor()
    set_memory = poor.setMemoryFlags

    def set_and_end(kib: int, flags: int) -> int:
        poor.active = False
        return set_memory(kib, flags)

    poor.setMemoryFlags = set_and_end  # type: ignore[method-assign] # it ends
    assert [entry["code"] for entry in run(host)["left_alone"]] == ["gone"]


def test_a_lost_connection_ends_it(run: Run) -> None:
    host, _rich, _poor = rich_and_poor(refuses={"setMemoryFlags": FakeLibvirtError(1, "client socket is closed", 7)})
    with pytest.raises(BalanceError, match="client socket is closed"):
        run(host)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"domains": ["rich"]}, {}),
        ({"domains": ["poor"]}, {"poor": (300, 496)}),
        ({"exclude": ["poor"]}, {}),
        ({"exclude": ["$(reboot)", "\u00fc", "poo*"]}, {"poor": (300, 496)}),
    ],
)
def test_whose_memory_may_change(run: Run, options: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    host, _rich, _poor = rich_and_poor()
    assert moved(run(host, **options)) == expected


AMOUNTS = ("low_mib", "high_mib", "step_mib", "minimum_mib", "margin_mib", "max_change_mib", "host_reserve_mib")
OTHERS = ("factor", "max_pressure", "stats_period_seconds", "verify_seconds", "interval")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        *(({name: value}, f"{name} must be") for name in (*AMOUNTS, *OTHERS) for value in (-1, 1e12, float("nan"))),
        ({"factor": 1.5}, "factor must be a number from 0 to 1, but it is 1.5."),
        ({"max_change_mib": 15}, "max_change_mib must be a number from 16"),
        ({"step_mib": 100}, "step_mib must be from low_mib to high_mib (128 to 256), but it is 100."),
        ({"low_mib": 300}, "step_mib must be from low_mib to high_mib"),
        ({"reclaim": "never"}, "reclaim must be one of needed, always."),
        ({"uri": "qemu+tls://kvm2/system"}, "is another machine: run this on the host itself"),
    ],
)
def test_bad_input_is_one_sentence_and_no_action(run: Run, options: dict[str, t.Any], sentence: str) -> None:
    host, rich, poor = rich_and_poor()
    with pytest.raises(BalanceError) as raised:
        run(host, **options)
    assert sentence in raised.value.message
    assert (rich.commands, poor.commands) == ([], [])


def test_xen_does_not_tell(run: Run) -> None:
    host, _rich, _poor = rich_and_poor()
    host.kind = "Xen"
    with pytest.raises(BalanceError, match="Xen host"):
        run(host)
