# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The lab as the tests see it: run playbooks against it, ask its hosts and guests what is true, break and heal it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import re
import subprocess
import sys
import time
import typing as t
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
# Seconds between two samples of the agents, where a test has them.
AGENT_INTERVAL = 2
# For how many seconds a run looks at the hosts; a test that judges their load wants the five of the role (None).
INTERVAL = 1
# The hosts that have another Debian release than this machine, as users' fleets have them.
RELEASES = {"kvm3": "trixie"}
T = t.TypeVar("T")


def wait_for(
    what: str, probe: t.Callable[[], T | None], *, seconds: float = 60.0, pause: float = 0.5, seen: object = None
) -> T:
    """The first true value of ``probe``; AssertionError with ``what`` and ``seen`` when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        told = "" if seen is None else f"; seen: {seen}"
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}{told}"
        time.sleep(pause)


class Lab:
    """Hosts ``kvm1`` ... and the guests of the lab's inventory."""

    inventory = ROOT / "inventories" / "lab"
    network = "10.66.0"
    hosts: t.ClassVar = {f"kvm{number}": f"10.66.0.{10 + number}" for number in (1, 2, 3)}
    driver = "qemu"
    console = "/var/log/libvirt/{}.console"
    directory = "/var/lib/virtops-lab"
    bridge = "vlab0"
    # How libvirt's own means move a guest.
    migration: t.ClassVar[tuple[str, ...]] = ("--live", "--p2p", "--unsafe", "--persistent", "--undefinesource")
    # Seconds that a playbook, a module, a command, a guest's answer and a connection by ssh may take.
    patience: t.ClassVar = {"playbook": 600, "module": 300, "command": 120, "answer": 90, "request": 5, "connect": 10}

    def __init__(self, run_dir: Path) -> None:
        self.variables = yaml.safe_load((self.inventory / "group_vars" / "hypervisors.yml").read_text())
        self.guests: dict[str, dict[str, t.Any]] = {guest["name"]: guest for guest in self.variables["lab_guests"]}
        self.run_dir = run_dir

    @property
    def first(self) -> str:
        """The host on which every guest starts."""
        return next(iter(self.hosts))

    # Ansible

    def command(self, playbook: str, **variables: t.Any) -> list[str]:
        """The command line for a playbook of the collection, by FQCN, against the lab; None takes a variable away."""
        path = ROOT / playbook
        variables = {
            "balance_run_dir": str(self.run_dir),
            "balance_interval": INTERVAL,
            "lab_releases": RELEASES,
            **variables,
        }
        return [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--inventory",
            str(self.inventory),
            str(path) if path.exists() else f"virtops.balance.{playbook}",
            "--extra-vars",
            json.dumps({name: value for name, value in variables.items() if value is not None}),
        ]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def playbook(self, playbook: str, *arguments: str, fails: bool = False, **variables: t.Any) -> str:
        """Run a playbook to its end and return its output; ``fails`` says which end is expected."""
        done = subprocess.run(
            [*self.command(playbook, **variables), *arguments],
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self.patience["playbook"],
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def start_playbook(self, playbook: str, **variables: t.Any) -> subprocess.Popen[str]:
        """Start a playbook in a session of its own, so that it can be killed with all its children."""
        return subprocess.Popen(
            self.command(playbook, **variables),
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def module(self, host: str, name: str, /, *, check: bool = False, fails: bool = False, **options: t.Any) -> t.Any:
        """Run one module of the collection on a host and return its result, with what Ansible said beside it in
        ``stderr``; ``fails`` says which end is expected."""
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible")),
                "--inventory",
                str(self.inventory),
                *(["--check"] if check else []),
                f"--module-name=virtops.balance.{name}",
                f"--args={json.dumps(options)}",
                host,
            ],
            cwd=ROOT,
            env={**self.environment(), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self.patience["module"],
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        # An error may come first, and "kvm1 | CHANGED" does.
        return {**json.loads(done.stdout.partition(" => ")[2]), "stderr": done.stderr}

    def saved(self, name: str) -> t.Any:
        """A file that the last run saved, such as ``plan.json``."""
        return json.loads((self.run_dir / name).read_text())

    # Hosts

    def uri(self, host: str) -> str:
        return f"{self.driver}+tcp://{self.hosts[host]}/system"

    def virsh(self, host: str, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["virsh", "--quiet", "--connect", self.uri(host), *arguments],
            capture_output=True,
            text=True,
            timeout=self.patience["command"],
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def shell(self, host: str, command: str, *, check: bool = True, seconds: int = 120) -> str:
        """What a command prints on a host."""
        options = (
            "BatchMode=yes StrictHostKeyChecking=no UserKnownHostsFile=/dev/null LogLevel=ERROR "
            f"ConnectTimeout={self.patience['connect']}"
        )
        done = subprocess.run(
            [
                *("ssh", "-i", str(Path.home() / ".local/state/virtops-lab/id_ed25519")),
                *(f"-o{option}" for option in options.split()),
                *(f"root@{self.hosts[host]}", command),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def task(self, hosts: str, module: str, arguments: str, *, check: bool = True, seconds: int = 120) -> str:
        """Run one task of Ansible's own modules on hosts and return what was printed."""
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible")),
                *("--inventory", str(self.inventory), hosts, "-m", f"ansible.builtin.{module}", "-a", arguments),
            ],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def as_root(self) -> list[str]:
        """What a command begins with that root is to run on the machine of the lab."""
        return [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]

    def machine(self, command: str) -> str:
        """What a shell command prints that root runs on the machine of the lab."""
        done = subprocess.run(
            [*self.as_root, "bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout.strip()

    def traces(self) -> str:
        """All that the lab has on this machine: namespaces, links, mounts, processes, cgroups and files."""
        name = Path(self.directory).name
        return self.machine(
            f"ip netns list | grep {name}; ip -oneline link | grep {name}; grep {name} /proc/mounts;"
            f" grep --no-messages --files-with-matches {name} /proc/[0-9]*/cgroup;"
            f" find /sys/fs/cgroup -type d -name {name}; ls -d {self.directory} /var/lib/virtops.balance"
        )

    def active(self, host: str) -> list[str]:
        return self.virsh(host, "list", "--name").split()

    def _lab_host(self, do: str, host: str) -> str:
        program = ROOT / "roles" / "lab" / "files" / "lab_host"
        return self.machine(f"LAB_DIR={self.directory} LAB_BRIDGE={self.bridge} bash {program} {do} {host}")

    def is_on(self, host: str) -> bool:
        """Whether the process tree of a host is alive."""
        return self._lab_host("power", host) == "on"

    def migrate(self, guest: str, source: str, destination: str) -> None:
        """Move a guest by libvirt's own means."""
        self.virsh(source, "migrate", *self.migration, guest, self.uri(destination))

    def placement(self) -> dict[str, list[str]]:
        """Guest to the hosts on which it is active, for every guest of the inventory. A host that is off has none."""
        active = {host: self.active(host) for host in self.hosts if self.is_on(host)}
        return {guest: [host for host in active if guest in active[host]] for guest in self.guests}

    def fault(self, host: str, kind: str) -> None:
        """``crash``, ``partition`` or ``heal``, by the program that the role runs."""
        done = self._lab_host(kind, host)
        assert done.splitlines()[-1:] == ["changed"], done
        if kind == "heal":
            # For some seconds this machine still takes it for unreachable, because its address could not be resolved.
            wait_for(f"an answer of {host}", lambda: self.virsh(host, "hostname", check=False))

    def fault_by_role(self, host: str, kind: str) -> None:
        self.playbook("tests/lab/fault.yml", "--limit", host, lab_fault=kind)

    def signal_daemon(self, host: str, signal: str) -> None:
        """Send a signal to the libvirtd of a host: STOP, and it hangs until CONT; KILL, and another one is started."""
        self.shell(host, f"kill -{signal} $(cat /run/libvirtd.pid)")

    # Guests

    def status(self, guest: str) -> dict[str, t.Any]:
        """What the guest says of itself: ``uptime_seconds``, ``boot_id``, ``load_percent``, ``dirty_mib``."""
        return self._get(guest, "status")

    def load(self, guest: str, **changes: int) -> dict[str, t.Any]:
        """Give a running guest a new ``percent`` or ``dirty``."""
        return self._get(guest, "load?" + "&".join(f"{key}={value}" for key, value in changes.items()))

    def _get(self, guest: str, path: str) -> dict[str, t.Any]:
        url = f"http://{self.guests[guest]['address']}/cgi-bin/{path}"

        def answer() -> dict[str, t.Any] | None:
            try:
                with urllib.request.urlopen(url, timeout=self.patience["request"]) as response:
                    answered: dict[str, t.Any] = json.load(response)
                    return answered
            except OSError:
                return None

        try:
            return wait_for(f"an answer from {url}", answer, seconds=self.patience["answer"])
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.last_words(guest)}") from error

    def last_words(self, guest: str) -> str:
        """What is known of a guest that does not answer: where it is, its statistics, the end of its console."""
        words = []
        for host in filter(self.is_on, self.hosts):
            state = self.virsh(host, "domstate", "--reason", guest, check=False)
            statistics = self.virsh(host, "domstats", "--vcpu", "--cpu-total", "--interface", guest, check=False)
            console = self.shell(host, f"tail -n 20 {self.console.format(guest)}", check=False)
            words.append(f"{host}: {state or 'not there'}\n{statistics}\n{console}")
        return "\n".join(words)

    @contextlib.contextmanager
    def more_guests(self, *declared: dict[str, t.Any]) -> t.Iterator[None]:
        """Have guests for a time that the inventory does not declare, with options as in ``lab_guests``."""
        names = [guest["name"] for guest in declared]
        try:
            self.guests.update(zip(names, declared, strict=True))
            self.playbook("tests/lab/guests.yml", lab_guests=list(self.guests.values()))
            yield
        finally:
            for name in names:
                del self.guests[name]
                for host in self.hosts:
                    self.virsh(host, "destroy", name, check=False)
                    self.virsh(host, "undefine", name, check=False)
                self.remove_disk(name)

    def remove_disk(self, guest: str) -> None:
        self.machine(f"rm -f {self.directory}/images/{guest}.qcow2")

    def address(self, number: int) -> str:
        """An address in the network of the lab; guests of tests have numbers from 111 on."""
        return f"{self.network}.{number}"

    def cores(self, host: str, *guests: str, seconds: float = 10.0) -> list[float]:
        """The CPU that guests get over some seconds, in cores, all threads of each together."""

        def read() -> dict[str, tuple[float, int]]:
            text = self.virsh(host, "domstats", "--cpu-total", *guests)
            times = re.findall(r"Domain: '(\S+)'\s.*?cpu\.time=(\d+)", text, re.DOTALL)
            return {guest: (time.monotonic(), int(nanoseconds)) for guest, nanoseconds in times}

        # What a daemon is asked for the first time has it look for emulators, seconds after it has read the figure.
        read()
        before = read()
        time.sleep(seconds)
        after = read()
        return [(after[g][1] - before[g][1]) / 1e9 / (after[g][0] - before[g][0]) for g in guests]

    def gather(self) -> None:
        """Bring every guest to the first host, have it rest, and forget that it ever moved."""
        host = self.first

        def bring(guest: str, places: list[str]) -> None:
            assert len(places) == 1, f"{guest} is active on {places}"
            if places != [host]:
                self.migrate(guest, places[0], host)
                for state in ("--live", "--config"):
                    self.virsh(host, "metadata", guest, "urn:virtops:balance:1", state, "--remove", check=False)
            self.load(guest, percent=0, dirty=0)

        with concurrent.futures.ThreadPoolExecutor() as pool:
            for done in [pool.submit(bring, *found) for found in self.placement().items()]:
                done.result()

    def rest(self) -> None:
        """Have every guest do nothing, so that what follows has the machine for itself."""
        self.loads(dict.fromkeys(self.guests, 0))

    def loads(self, percent: t.Mapping[str, int]) -> None:
        """Give several running guests a new load."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda pair: self.load(pair[0], percent=pair[1]), percent.items()))


class Machines(Lab):
    """Hosts that are system VMs: ``kvm1`` and ``kvm2`` of inventories/machines. All takes longer on them."""

    inventory = ROOT / "inventories" / "machines"
    network = "10.67.0"
    hosts: t.ClassVar = {f"kvm{number}": f"10.67.0.{10 + number}" for number in (1, 2)}
    directory = "/var/lib/virtops-machines"
    bridge = "vmach0"
    patience: t.ClassVar = {
        "playbook": 1800,
        "module": 600,
        "command": 300,
        "answer": 300,
        "request": 30,
        "connect": 60,
    }

    def remove_disk(self, guest: str) -> None:
        self.virsh(self.first, "vol-delete", "--pool", "images", f"{guest}.qcow2", check=False)


class Xen(Machines):
    """Machines with Xen: ``xen1`` and ``xen2`` of inventories/xen."""

    inventory = ROOT / "inventories" / "xen"
    network = "10.68.0"
    hosts: t.ClassVar = {f"xen{number}": f"10.68.0.{10 + number}" for number in (1, 2)}
    driver = "xen"
    console = "/var/log/xen/console/guest-{}.log"
    directory = "/var/lib/virtops-xen"
    bridge = "vxen0"
    migration: t.ClassVar = ("--live", "--p2p", "--persistent", "--undefinesource")


# By LAB_KIND, whose values are those of lab_kind of the role.
KINDS: dict[str, type[Lab]] = {"namespaces": Lab, "machines": Machines, "xen": Xen}
