# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Switches, each against a stand-in for what it talks to, and the order in which a host is looked at and switched."""

from __future__ import annotations

import base64
import http.server
import json
import socket
import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._host_power import act as power_act
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.command import Command
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.control import Control, build
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.ipmi import Ipmi
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.redfish import Redfish
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.switch import PowerError
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.wake_on_lan import WakeOnLan, magic_packet

SECRET = "s3cret"

# Wake on LAN


def test_the_magic_packet_is_sent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as card:
        card.bind(("127.0.0.1", 0))
        card.settimeout(10)
        WakeOnLan(mac="52:54:00:12:34:56", address="127.0.0.1", port=card.getsockname()[1]).on()
        packet = card.recv(1024)
    assert packet == bytes.fromhex("ff" * 6 + "525400123456" * 16)
    assert len(packet) == 102


@pytest.mark.parametrize("mac", ["52-54-00-AB-cd-ef", "525400abcdef"])
def test_addresses_in_other_spellings(mac: str) -> None:
    assert magic_packet(mac)[6:12] == bytes.fromhex("525400abcdef")


@pytest.mark.parametrize("mac", ["", "52:54:00:12:34", "52:54:00:12:34:5g", "52:54:00:12:34:56:78"])
def test_what_is_no_ethernet_address(mac: str) -> None:
    with pytest.raises(PowerError, match=r"wake_on_lan\.mac must be"):
        magic_packet(mac)


def test_a_packet_that_cannot_be_sent() -> None:
    with pytest.raises(PowerError, match=r"cannot be sent to no\.such\.host\.invalid port 9"):
        WakeOnLan(mac="52:54:00:12:34:56", address="no.such.host.invalid", port=9).on()


# IPMI


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which a program is looked for first."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    return path


def script(directory: Path, name: str, text: str) -> str:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def ipmi(**options: t.Any) -> Ipmi:
    given = {"port": 623, "user": "operator", "password": SECRET, "interface": "lanplus", "cipher_suite": None}
    return Ipmi(address="bmc1", **{**given, **options})


@pytest.mark.parametrize(("said", "on"), [("Chassis Power is on", True), ("Chassis Power is off", False)])
def test_ipmi_tells_whether_it_is_on(programs: Path, said: str, on: bool) -> None:
    script(programs, "ipmitool", f"echo {said}")
    assert ipmi().power() is on


def test_ipmi_asks_as_ipmitool_wants_it_and_its_arguments_have_no_password(programs: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script(programs, "ipmitool", f'echo "$@ $IPMI_PASSWORD" >>{log}')
    switch = ipmi(cipher_suite=3)
    switch.on()
    switch.off(hard=False)
    switch.off(hard=True)
    how = "-I lanplus -H bmc1 -p 623 -U operator -C 3 -E chassis power"
    assert log.read_text().splitlines() == [f"{how} {what} {SECRET}" for what in ("on", "soft", "off")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("echo 'Error: Unable to establish session' >&2; exit 1", "bmc1 cannot be used: Error: Unable to establish"),
        ("exit 7", "ipmitool ended with 7"),
        ("echo Chassis Power is 50%", "did not say whether the power is on, but: 'Chassis Power is 50%'"),
        ("", "did not say whether"),
    ],
)
def test_ipmi_that_does_not_work(programs: Path, text: str, sentence: str) -> None:
    script(programs, "ipmitool", text)
    with pytest.raises(PowerError, match=sentence):
        ipmi().power()


def test_ipmitool_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PowerError, match="install the package ipmitool"):
        ipmi().power()


# Redfish


class Bmc(http.server.ThreadingHTTPServer):
    """One system by default, in the words of the standard."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), BmcHandler)
        self.state: t.Any = "On"
        self.allowed = ["On", "ForceOff", "GracefulShutdown"]
        self.systems = ["1"]
        self.asked: list[tuple[str, t.Any]] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class BmcHandler(http.server.BaseHTTPRequestHandler):
    server: Bmc

    def log_message(self, *_arguments: t.Any) -> None:
        pass

    def do_GET(self) -> None:
        systems = [{"@odata.id": f"/redfish/v1/Systems/{name}"} for name in self.server.systems]
        system = {
            "PowerState": self.server.state,
            "Actions": {
                "#ComputerSystem.Reset": {
                    "target": f"http://another.example{self.path}/Actions/ComputerSystem.Reset",
                    "ResetType@Redfish.AllowableValues": self.server.allowed,
                }
            },
        }
        self._answer({"Members": systems} if self.path == "/redfish/v1/Systems" else system)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        self._answer({}, 204)

    def _answer(self, document: t.Any, code: int = 200) -> None:
        right = "Basic " + base64.b64encode(f"operator:{SECRET}".encode()).decode()
        code, text = self.server.answers.get(self.path, (code, b"" if code == 204 else json.dumps(document).encode()))
        if self.headers["Authorization"] != right:
            code, text = 401, b""
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def bmc() -> Iterator[Bmc]:
    with Bmc() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def redfish(bmc: Bmc, **options: t.Any) -> Redfish:
    given = {
        "url": bmc.url, "system": None, "user": "operator", "password": SECRET, "validate_certs": True, "ca_path": None,
    }  # fmt: skip
    return Redfish(**{**given, **options})


@pytest.mark.parametrize(
    ("state", "on"), [("On", True), ("PoweringOn", True), ("PoweringOff", True), ("Paused", True), ("Off", False)]
)
def test_redfish_tells_whether_it_is_on(bmc: Bmc, state: str, on: bool) -> None:
    bmc.state = state
    assert redfish(bmc).power() is on


def test_redfish_resets_the_system_of_this_bmc_whatever_host_the_target_names(bmc: Bmc) -> None:
    switch = redfish(bmc)
    switch.on()
    switch.off(hard=False)
    switch.off(hard=True)
    path = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"
    assert bmc.asked == [(path, {"ResetType": kind}) for kind in ("On", "GracefulShutdown", "ForceOff")]


def test_a_named_system(bmc: Bmc) -> None:
    bmc.systems = ["1", "2"]
    redfish(bmc, system="2").on()
    assert bmc.asked == [("/redfish/v1/Systems/2/Actions/ComputerSystem.Reset", {"ResetType": "On"})]


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        pytest.param({"systems": ["1", "2"]}, {}, r"these: 1, 2. Name one with redfish\.system", id="two systems"),
        pytest.param({"systems": []}, {}, "these: none", id="no system"),
        pytest.param({"state": None}, {}, "its PowerState is None", id="no state"),
        pytest.param({}, {"password": "wrong"}, "answers 401", id="wrong password"),
        pytest.param({"answers": {"/redfish/v1/Systems": (200, b"<html>")}}, {}, "not Redfish's JSON", id="no JSON"),
        pytest.param({"answers": {"/redfish/v1/Systems/1": (200, b"[]")}}, {}, "not Redfish's JSON", id="a list"),
        pytest.param({"answers": {"/redfish/v1/Systems/1": (503, b"")}}, {}, "answers 503", id="busy"),
        pytest.param({}, {"url": "http://127.0.0.1:1"}, "does not answer", id="nobody"),
        pytest.param({}, {"url": "https://no.such.host.invalid"}, "does not answer", id="no name"),
        pytest.param({}, {"url": "bmc1"}, "must be a URL such as", id="no URL"),
    ],
)
def test_redfish_that_does_not_work(
    bmc: Bmc, changes: dict[str, t.Any], options: dict[str, t.Any], sentence: str
) -> None:
    for key, value in changes.items():
        setattr(bmc, key, value)
    with pytest.raises(PowerError, match=sentence) as caught:
        redfish(bmc, **options).power()
    assert SECRET not in str(caught.value)


def test_a_reset_that_the_bmc_does_not_know(bmc: Bmc) -> None:
    bmc.allowed = ["On", "ForceOff"]
    with pytest.raises(PowerError, match="does not know GracefulShutdown, but: On, ForceOff"):
        redfish(bmc).off(hard=False)
    assert bmc.asked == []


def test_a_certificate_that_nobody_signed_is_refused(bmc: Bmc, tmp_path: Path) -> None:
    with pytest.raises(PowerError, match="does not answer"):
        redfish(bmc, url=bmc.url.replace("http:", "https:")).power()


# Commands


def command(**options: t.Any) -> Command:
    return Command(**{"sleep": None, "wake": None, "status": None, "timeout_seconds": 10.0, **options})


@pytest.mark.parametrize(("said", "on"), [("on", True), ("kvm1 is OFF", False), ("power: On\n\n", True)])
def test_the_last_word_of_the_status_counts(said: str, on: bool) -> None:
    assert command(status=["printf", said]).power() is on


def test_commands_run_without_a_shell(tmp_path: Path) -> None:
    made = tmp_path / "a b; $(touch c)"
    switch = command(wake=["touch", str(made)], sleep=["rm", str(made)])
    switch.on()
    assert [path.name for path in tmp_path.iterdir()] == [made.name]
    switch.off(hard=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, r"command\.status is needed"),
        ({"status": ["true"]}, "must be on or off"),
        ({"status": ["echo", "maybe"]}, "must be on or off"),
        ({"status": ["/no/such/program", SECRET]}, "cannot be run: /no/such/program: No such file"),
        (
            {"status": ["sh", "-c", f"echo one >&2; echo it is broken. >&2; exit 3; {SECRET}"]},
            "ended with 3: it is broken",
        ),
        ({"status": ["sh", "-c", "exit 1"]}, "it says nothing"),
        ({"status": ["sleep", "60"], "timeout_seconds": 0.05}, "did not end within 0.05 seconds"),
    ],
)
def test_a_command_that_does_not_work(options: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(PowerError, match=sentence) as caught:
        command(**options).power()
    assert SECRET not in str(caught.value)


# What the inventory declares

BMC = {"url": "https://bmc1", "system": None, "user": None, "password": None, "validate_certs": True, "ca_path": None}
COMMANDS = {"sleep": ["false"], "wake": ["false"], "status": None, "timeout_seconds": 10}
LAN = {"mac": "52:54:00:12:34:56", "address": "255.255.255.255", "port": 9}


def control(**options: t.Any) -> Control:
    return build({"sleep": "poweroff", "wake": "redfish", "hard": False, "redfish": BMC, "ipmi": None, **options})


@pytest.mark.parametrize(
    ("options", "sleeper", "waker", "watcher"),
    [
        ({}, None, Redfish, "bmc"),
        ({"sleep": "redfish"}, Redfish, Redfish, "bmc"),
        ({"sleep": "suspend"}, None, Redfish, None),
        ({"wake": "wake_on_lan", "wake_on_lan": LAN}, None, WakeOnLan, "bmc"),
        ({"wake": "wake_on_lan", "wake_on_lan": LAN, "redfish": None}, None, WakeOnLan, None),
        ({"wake": "command", "command": COMMANDS, "redfish": None}, None, Command, None),
        ({"wake": "command", "command": {**COMMANDS, "status": ["x"]}, "redfish": None}, None, Command, "command"),
        ({"command": {**COMMANDS, "status": ["x"]}}, None, Redfish, "bmc"),
    ],
)
def test_who_acts_and_who_tells(
    options: dict[str, t.Any], sleeper: type | None, waker: type, watcher: str | None
) -> None:
    made = control(**options)
    assert (type(made.sleeper) if made.sleeper else None, type(made.waker)) == (sleeper, waker)
    assert (made.watcher.name if made.watcher else None) == watcher


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"redfish": None}, r"control\.wake is redfish, so control\.redfish has to say how\."),
        ({"sleep": "ipmi"}, r"control\.sleep is ipmi, so control\.ipmi has to say how\."),
        ({"sleep": "command", "command": {**COMMANDS, "sleep": []}}, r"control\.command\.sleep has to be one"),
        ({"wake": "command", "command": {**COMMANDS, "wake": None}}, r"control\.command\.wake has to be one"),
    ],
)
def test_what_is_missing(options: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(PowerError, match=sentence):
        control(**options)


# The order of things


class World:
    """A host with its BMC. Everything that is asked of it is written down; time passes in sleep only."""

    name: str = "bmc"

    def __init__(self, *, on: bool = True, again: bool = False) -> None:
        self.on_, self.again = on, again
        self.log: list[str] = []
        self.silent_bmc = self.deaf = self.refuses = False
        self.answers_after = 0
        self.now = 0.0

    # The switch.

    def power(self) -> bool:
        self.log.append("power?")
        if self.silent_bmc:
            raise PowerError("The BMC does not answer.")
        return self.on_

    def on(self) -> None:
        self.log.append("on!")
        self.on_ = True

    def off(self, *, hard: bool) -> None:
        self.log.append("cut!" if hard else "off!")
        self.on_ = self.on_ and self.deaf

    # Time.

    def clock(self) -> power_act.Clock:
        return power_act.Clock(monotonic=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeHost:
    name = "kvm3"

    def __init__(self, world: World) -> None:
        self.world = world

    def reachable(self) -> bool:
        self.world.log.append("reachable?")
        return self.world.on_

    def answer(self) -> str | None:
        self.world.log.append("answer?")
        if self.world.on_ and self.world.now >= self.world.answers_after:
            return None
        return "kvm3 cannot be reached."

    def wake_up(self) -> str | None:
        self.world.log.append("wakes?")
        return self.answer()

    def go_to_sleep(self) -> None:
        self.world.log.append("look")
        if self.world.refuses:
            raise PowerError("kvm3: web-1 is running.")


def of(world: World, *, told: bool = True, by_itself: bool = False, hard: bool = False) -> Control:
    return Control(
        sleep="poweroff" if by_itself else "redfish",
        wake="redfish",
        sleeper=None if by_itself else world,
        waker=world,
        watcher=world if told else None,
        hard=hard,
    )


def sleep(world: World, control: Control, *, check_mode: bool = False) -> power_act.Outcome:
    return power_act.put_to_sleep(
        control, FakeHost(world), timeout_seconds=10, check_mode=check_mode, clock=world.clock()
    )


def wake(world: World, control: Control, *, check_mode: bool = False) -> power_act.Outcome:
    return power_act.wake(control, FakeHost(world), timeout_seconds=10, check_mode=check_mode, clock=world.clock())


def test_it_looks_immediately_before_it_switches_off_and_sees_that_it_is_off() -> None:
    world = World()
    assert sleep(world, of(world)) == power_act.Outcome(True, "awake", "asleep", "bmc")
    assert world.log == ["power?", "reachable?", "look", "off!", "power?"]


def test_power_is_cut_only_where_that_is_wanted() -> None:
    world = World()
    sleep(world, of(world, hard=True))
    assert "cut!" in world.log


def test_without_a_bmc_three_times_silence_is_sleep() -> None:
    world = World()
    assert sleep(world, of(world, told=False)) == power_act.Outcome(True, "awake", "asleep", "silence")
    assert world.log == ["reachable?", "look", "off!"] + ["reachable?"] * 3


def test_connections_that_are_lost_now_and_then_are_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    answers = iter([True, False, True, False, False, True, False, False])
    monkeypatch.setattr(FakeHost, "reachable", lambda _host: next(answers))
    with pytest.raises(PowerError, match="it still answers after 10 s"):
        sleep(world, of(world, told=False))


def test_a_host_that_is_off_is_left_so() -> None:
    world = World(on=False)
    assert sleep(world, of(world)) == power_act.Outcome(False, "asleep", "asleep", "bmc")
    assert world.log == ["power?"]


def test_check_mode_looks_and_does_nothing() -> None:
    world = World()
    assert sleep(world, of(world), check_mode=True).changed
    assert world.log == ["power?", "reachable?", "look"]
    world = World(on=False)
    assert wake(world, of(world), check_mode=True) == power_act.Outcome(True, "asleep", "awake", None)
    assert "on!" not in world.log


def test_what_stands_against_it_keeps_it_awake() -> None:
    world = World()
    world.refuses = True
    with pytest.raises(PowerError, match="web-1 is running"):
        sleep(world, of(world))
    assert "off!" not in world.log


@pytest.mark.parametrize(
    ("told", "sentence"), [(True, "its BMC says that it is on"), (False, "nothing tells what runs")]
)
def test_a_host_that_cannot_be_asked_is_left_as_it_is(told: bool, sentence: str) -> None:
    world = World()
    host = FakeHost(world)
    host.reachable = lambda: False  # type: ignore[method-assign]  # cut off, but on
    with pytest.raises(PowerError, match=sentence):
        power_act.put_to_sleep(of(world, told=told), host, timeout_seconds=10, check_mode=False, clock=world.clock())
    assert "off!" not in world.log


def test_a_bmc_that_does_not_answer_could_not_wake_it_again() -> None:
    world = World()
    world.silent_bmc = True
    with pytest.raises(PowerError, match="BMC does not answer"):
        sleep(world, of(world))
    assert world.log == ["power?"]


@pytest.mark.parametrize(
    ("told", "sentence"),
    [(True, "its BMC still says that it is on after 10 s"), (False, "it still answers after 10 s")],
)
def test_a_host_that_does_not_obey(told: bool, sentence: str) -> None:
    world = World()
    world.deaf = True
    with pytest.raises(PowerError, match=sentence):
        sleep(world, of(world, told=told))
    assert world.now == 10


def test_a_bmc_that_falls_silent_meanwhile_leaves_it_open() -> None:
    world = World()
    host = FakeHost(world)

    def look() -> None:
        world.silent_bmc = True

    host.go_to_sleep = look  # type: ignore[method-assign]  # the BMC breaks just then
    with pytest.raises(PowerError, match="not known whether it did: The BMC does not answer"):
        power_act.put_to_sleep(of(world), host, timeout_seconds=10, check_mode=False, clock=world.clock())


def test_a_woken_host_counts_as_awake_when_its_libvirt_answers() -> None:
    world = World(on=False)
    world.answers_after = 5
    assert wake(world, of(world)) == power_act.Outcome(True, "asleep", "awake", "libvirt")
    assert world.now == 6
    assert world.log == ["power?", "on!"] + ["wakes?", "answer?"] * 3


def test_a_packet_is_sent_again_while_nothing_answers() -> None:
    world = World(on=False, again=True)
    world.answers_after = 5
    assert wake(world, of(world, told=False)).before == "unknown"
    assert world.log.count("on!") == 3


def test_a_host_that_answers_is_awake() -> None:
    world = World()
    assert wake(world, of(world)) == power_act.Outcome(False, "awake", "awake", "libvirt")
    assert "on!" not in world.log


@pytest.mark.parametrize("again", [True, False])
def test_one_that_is_starting_is_waited_for_and_its_button_left_alone(again: bool) -> None:
    world = World(again=again)
    world.answers_after = 3
    assert wake(world, of(world)).state == "awake"
    assert world.log == ["power?"] + ["answer?"] * 3


@pytest.mark.parametrize(("on", "sentence"), [(False, r"was woken \(redfish\)"), (True, "kvm3 is on")])
def test_a_host_whose_libvirt_never_answers(on: bool, sentence: str) -> None:
    world = World(on=on)
    world.answers_after = 1000
    with pytest.raises(PowerError, match=sentence + ", but does not count as awake after 10 s: kvm3 cannot be reached"):
        wake(world, of(world))
    assert world.now == 10


def test_who_cannot_tell_need_not_keep_others_from_waking_it() -> None:
    broken, lan = World(), World(on=False, again=True)
    broken.silent_bmc = True
    control = Control(sleep="poweroff", wake="wake_on_lan", sleeper=None, waker=lan, watcher=broken, hard=False)
    assert wake(lan, control).state == "awake"
    with pytest.raises(PowerError, match="does not answer"):
        wake(broken, of(broken))


@pytest.mark.parametrize(
    ("changes", "told", "expected"),
    [
        ({"on_": False}, True, power_act.Outcome(False, "asleep", "asleep", "bmc")),
        ({}, True, power_act.Outcome(False, "awake", "awake", "libvirt")),
        ({}, False, power_act.Outcome(False, "awake", "awake", "libvirt")),
        ({"silent_bmc": True}, True, power_act.Outcome(False, "awake", "awake", "libvirt")),
    ],
)
def test_query(changes: dict[str, t.Any], told: bool, expected: power_act.Outcome) -> None:
    world = World()
    vars(world).update(changes)
    assert power_act.query(of(world, told=told), FakeHost(world)) == expected


@pytest.mark.parametrize(
    ("changes", "told", "seen_by", "problem"),
    [
        ({"answers_after": 9}, True, "bmc", "It is not asleep: its BMC says that it is on."),
        ({"answers_after": 9, "silent_bmc": True}, True, None, "The BMC does not answer."),
        ({"on_": False}, False, None, "Only its silence indicates whether it is asleep."),
    ],
)
def test_a_silent_host_is_not_asleep_for_that(
    changes: dict[str, t.Any], told: bool, seen_by: str | None, problem: str
) -> None:
    world = World()
    vars(world).update(changes)
    outcome = power_act.query(of(world, told=told), FakeHost(world))
    assert (outcome.changed, outcome.state, outcome.seen_by, outcome.problem) == (
        False,
        "unknown",
        seen_by,
        f"kvm3 cannot be reached. {problem}",
    )
