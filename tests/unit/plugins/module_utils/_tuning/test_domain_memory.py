# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The memory of one domain: where the balloon goes, what stops it, and what is remembered."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import original_settings
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._observe.host import Clock
from ansible_collections.virtops.balance.plugins.module_utils._tuning.domain_memory import Request, size
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_inside import (
    CONFIG,
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
    def call(
        host: InsideHost, *, check_mode: bool = False, available_mib: int = 4096, **options: t.Any
    ) -> dict[str, t.Any]:
        (tmp_path / "proc").mkdir(exist_ok=True)
        (tmp_path / "proc/meminfo").write_text(f"MemTotal: 8388608 kB\nMemAvailable: {available_mib * 1024} kB\n")
        clock = Clock(now=host.time, monotonic=host.time, sleep=host.sleep)
        request = Request(uri="qemu:///system", **{"domain": "web-1", **options})
        return size(api_for(host), request, check_mode=check_mode, clock=clock, root=str(tmp_path))

    return call


def guest_with(**values: t.Any) -> Guest:
    """A guest of 1024 MiB that uses 200 of them and 40 for its kernel: 784 are usable."""
    return InsideHost().add(**values)


def sizes(guest: Guest) -> list[int]:
    """The sizes in MiB that the running domain was told to have."""
    return [command[1] // 1024 for command in guest.commands if command[0] == "setMemoryFlags" and command[2] == LIVE]


def remembered(guest: Guest, place: int) -> int | None:
    return original_settings.parse_text(guest.texts.get(place)).balloon_kib


def test_memory_is_taken_in_steps_and_given_back(run: Run) -> None:
    guest = guest_with()

    would = run(guest.host, memory_mib=400, check_mode=True)
    assert guest.commands == []
    done = run(guest.host, memory_mib=400)

    assert done == would
    assert (done["changed"], done["live"], done["definition"]) == (True, 400, None)
    assert done["diff"] == {"before": {"live": 1024}, "after": {"live": 400}}
    assert sizes(guest) == [768, 512, 400]
    assert guest.current_mib == 400
    assert remembered(guest, LIVE) == 1024 * 1024
    assert not run(guest.host, memory_mib=400)["changed"]

    run(guest.host, memory_mib=500)
    assert remembered(guest, LIVE) == 1024 * 1024, "the first size is kept, not the last one"
    released = run(guest.host, state="released")
    assert (released["changed"], guest.current_mib, remembered(guest, LIVE)) == (True, 1024, None)
    assert not run(guest.host, state="released")["changed"]


def test_on_xen_memory_is_given_and_none_is_taken(run: Run) -> None:
    guest = guest_with(current_mib=400, target_mib=400)
    host = guest.host
    host.kind, guest.refuses["setMemoryStatsPeriod"] = "Xen", FakeLibvirtError(3)
    host.answers.update(getMemoryStats=FakeLibvirtError(3), getFreeMemory=1000 * 1024**2)

    with pytest.raises(BalanceError, match="how much memory guests of Xen could still use: none is taken from web-1"):
        run(host, memory_mib=300)
    # What counts is the memory that no domain has, not that of Domain-0.
    with pytest.raises(BalanceError, match="The host has 1000 MiB available: 500 MiB more"):
        run(host, memory_mib=900, host_reserve_mib=512, available_mib=8000)
    assert sizes(guest) == []

    done = run(host, memory_mib=600, host_reserve_mib=512, available_mib=10)
    assert (done["changed"], done["live"], guest.current_mib) == (True, 600, 600)
    assert not run(host, memory_mib=600)["changed"]


def test_the_definition_only_where_asked(run: Run) -> None:
    guest = guest_with()
    run(guest.host, memory_mib=600)
    assert guest.defined_mib == 1024
    done = run(guest.host, memory_mib=600, persistent=True)
    assert (done["changed"], done["live"], done["definition"], guest.defined_mib) == (True, 600, 600, 600)
    assert remembered(guest, CONFIG) == 1024 * 1024
    assert not run(guest.host, memory_mib=600, persistent=True)["changed"]
    assert run(guest.host, state="released")["definition"] == 1024
    assert (guest.defined_mib, guest.current_mib) == (1024, 1024)


def test_a_domain_that_does_not_run(run: Run) -> None:
    guest = guest_with(active=False)
    with pytest.raises(BalanceError, match="is not running here: set persistent to true"):
        run(guest.host, memory_mib=600)
    done = run(guest.host, memory_mib=600, persistent=True)
    assert (done["live"], done["definition"], guest.defined_mib, sizes(guest)) == (None, 600, 600, [])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param(
            {"memory_mib": 303},
            "303 MiB are too little for web-1, which needs 304 MiB: of its 1024 MiB it could still use 784 MiB, and a "
            "margin of 64 MiB must stay.",
            id="floor",
        ),
        pytest.param({"memory_mib": 400, "margin_mib": 200}, "needs 440 MiB", id="margin"),
        pytest.param({"memory_mib": 100}, "memory_mib is 100, but minimum_mib is 128.", id="minimum"),
        pytest.param(
            {"memory_mib": 4000}, "web-1 can have 1024 MiB at most (its maximum memory), not 4000 MiB.", id="maximum"
        ),
    ],
)
def test_floors_and_ceiling_are_hard(run: Run, options: dict[str, t.Any], sentence: str) -> None:
    guest = guest_with()
    for check_mode in (True, False):
        with pytest.raises(BalanceError) as raised:
            run(guest.host, check_mode=check_mode, **options)
        assert sentence in raised.value.message
    assert guest.commands == []


def test_the_least_that_is_allowed(run: Run) -> None:
    guest = guest_with()
    run(guest.host, memory_mib=304)
    assert guest.current_mib == 304


def test_a_guest_that_needs_more_meanwhile_is_not_squeezed(run: Run) -> None:
    guest = guest_with()
    told = guest.setMemoryFlags

    def grows(kib: int, flags: int) -> int:
        guest.used_mib = 500
        return told(kib, flags)

    guest.setMemoryFlags = grows  # type: ignore[method-assign] # what the guest does in the middle of it
    with pytest.raises(BalanceError, match="400 MiB are too little for web-1, which needs 604 MiB"):
        run(guest.host, memory_mib=400)
    assert sizes(guest) == [768]


def test_figures_from_before_an_earlier_change_do_not_count(run: Run) -> None:
    """Two tasks one after the other: what the guest said before the first one is too much by what that took."""
    guest = guest_with(period=10, every=10)
    run(guest.host, memory_mib=800)
    with pytest.raises(BalanceError, match=r"250 MiB are too little for web-1, which needs 304 MiB: of its 800 MiB"):
        run(guest.host, memory_mib=250, step_mib=1024)
    assert guest.current_mib == 800
    assert run(guest.host, memory_mib=320)["live"] == 320


def test_a_guest_that_falls_silent_is_not_squeezed_any_further(run: Run) -> None:
    guest = guest_with()
    told = guest.setMemoryFlags

    def falls_silent(kib: int, flags: int) -> int:
        guest.reports = False
        return told(kib, flags)

    guest.setMemoryFlags = falls_silent  # type: ignore[method-assign] # what the guest does in the middle of it
    with pytest.raises(BalanceError, match="its last report is older than 5 s"):
        run(guest.host, memory_mib=400)
    assert sizes(guest) == [768]


@pytest.mark.parametrize(("available", "fits"), [(512 + 400, True), (512 + 399, False)])
def test_the_reserve_of_the_host_is_kept(run: Run, available: int, fits: bool) -> None:
    guest = guest_with(current_mib=600, target_mib=600)
    if fits:
        assert run(guest.host, memory_mib=1000, available_mib=available)["live"] == 1000
        return
    with pytest.raises(BalanceError, match="400 MiB more for web-1 would not leave a reserve of 512 MiB"):
        run(guest.host, memory_mib=1000, available_mib=available)
    assert guest.commands == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"reports": False, "updated": 1}, "its last report is older than 5 s: no memory is taken"),
        ({"driver": False}, "does not report how much memory it could still use"),
        ({"balloon": "none"}, "web-1 has no balloon device. Its memory cannot be changed while it runs."),
        ({"extra": "<memoryBacking><hugepages/></memoryBacking>"}, "in huge pages"),
        ({"extra": "<launchSecurity type='sev'/>"}, "is encrypted"),
        ({"job": {"type": 2, "operation": 5}}, "Libvirt runs a job on web-1 (migration_out)."),
        ({"state_": (3, 2)}, "A migration of web-1 is under way"),
    ],
)
def test_hands_off(run: Run, values: dict[str, t.Any], sentence: str) -> None:
    guest = guest_with()
    for name, value in values.items():
        setattr(guest, name, value)
    with pytest.raises(BalanceError) as raised:
        run(guest.host, memory_mib=600)
    assert sentence in raised.value.message
    assert sizes(guest) == []
    assert not run(guest.host, memory_mib=1024)["changed"], "nothing to do is no error"


def test_figures_are_collected_where_nobody_does(run: Run) -> None:
    guest = guest_with(period=None)
    assert run(guest.host, memory_mib=600, check_mode=True)["changed"]
    assert guest.commands == []
    assert run(guest.host, memory_mib=600, stats_period_seconds=3)["live"] == 600
    assert guest.commands[0] == ("setMemoryStatsPeriod", 3, LIVE)


def test_a_driver_that_does_not_follow(run: Run) -> None:
    guest = guest_with(current_mib=600, target_mib=600, driver=False)
    with pytest.raises(BalanceError, match=r"did not move within 60 seconds: the driver \(virtio_balloon\)"):
        run(guest.host, memory_mib=1000)
    assert sizes(guest) == [856, 600], "or it would go there when the driver is loaded later"
    assert guest.host.now == pytest.approx(1_000_060)


def test_a_guest_that_gives_only_a_part(run: Run) -> None:
    guest = guest_with(follows=0.0)
    told = guest.tick

    def tick(seconds: float) -> None:
        guest.current_mib = max(900.0, guest.target_mib)
        told(seconds)

    guest.tick = tick  # type: ignore[method-assign] # a guest that stops in the middle
    with pytest.raises(
        BalanceError, match="went from 1024 to 900 MiB within 9 seconds, not to 768 MiB; it stays there"
    ):
        run(guest.host, memory_mib=600, timeout_seconds=9)
    assert sizes(guest) == [768, 900]


def test_a_guest_that_ends(run: Run) -> None:
    guest = guest_with()

    def end(kib: int, flags: int) -> int:
        guest.active = False
        return 0

    guest.setMemoryFlags = end  # type: ignore[method-assign] # it ends
    with pytest.raises(BalanceError, match="web-1 ended while its memory was changed"):
        run(guest.host, memory_mib=600)


def test_libvirt_refuses(run: Run) -> None:
    guest = guest_with(refuses={"setMemoryFlags": FakeLibvirtError(55, "no")})
    with pytest.raises(BalanceError, match="Cannot change the memory of 'web-1': no"):
        run(guest.host, memory_mib=600)


NUMBERS = ("memory_mib", "minimum_mib", "margin_mib", "step_mib", "host_reserve_mib", "timeout_seconds")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        *(({name: -1}, f"{name} must be a number") for name in (*NUMBERS, "stats_period_seconds")),
        *(({name: 10**12}, f"{name} must be a number") for name in (*NUMBERS, "stats_period_seconds")),
        *(({name: float("nan")}, f"{name} must be a number") for name in NUMBERS),
        ({"memory_mib": 0}, "memory_mib must be a number from 1 to 1,073,741,824, but it is 0."),
        *(({"domain": name}, "There is no domain") for name in ("nobody", "$(reboot)", "'; rm -rf /", "\u00fc\u4e2d")),
        *(({"domain": name}, "domain must be") for name in ("", "a\nb", "\ud800")),
    ],
)
def test_bad_input_is_one_sentence_and_no_action(run: Run, options: dict[str, t.Any], sentence: str) -> None:
    guest = guest_with()
    with pytest.raises(BalanceError) as raised:
        run(guest.host, **{"memory_mib": 600, **options})
    assert sentence in raised.value.message
    assert guest.commands == []


def test_all_domains_of_a_host_are_released(run: Run) -> None:
    host = InsideHost()
    first, second = host.add("web-1"), host.add("web-2")
    run(host, domain="web-2", memory_mib=600)
    done = run(host, domain=None, state="released")
    assert done["domains"] == [{"uuid": second.uuid, "name": "web-2", "live": 1024, "definition": 1024}]
    assert (first.commands, second.current_mib) == ([], 1024)
    assert not run(host, domain=None, state="released")["changed"]
