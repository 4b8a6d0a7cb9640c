# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: who may act on this host at the moment, in a file on the host itself.

Whoever looks or changes holds a lock (flock) meanwhile, and the file is replaced as a whole, so at any moment there is
one holder at most. The lock lasts for milliseconds and ends with its process; what lasts is the lease, until it is
given back or its time is over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import tempfile
import threading
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number

DIRECTORY = "var/lib/virtops.balance"
SCHEMA = 1

# Nobody holds the lock for longer than it takes to read and write one small file.
_LOCK_SECONDS = 10.0
_SHORTEST_SECONDS = 0.01
# A lease that outlives its owner keeps everybody from acting.
_LONGEST_SECONDS = 7 * 24 * 3600


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


@dataclass(frozen=True)
class Clock:
    """Time, so that tests can bring their own. RV(boottime) runs on in suspend and is never set (CLOCK_BOOTTIME)."""

    now: t.Callable[[], float] = time.time
    boottime: t.Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    boot_id: t.Callable[[], str | None] = _boot_id
    sleep: t.Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Lease:
    """Who acts, what for, since when and until when (Unix time; the boot's own clock beside it)."""

    owner: str
    purpose: str
    since: float
    expires_at: float
    boot_id: str | None
    expires_boottime: float

    def expired(self, clock: Clock) -> bool:
        """Return whether the lease has expired. Within one boot, a change of the time of day does not matter."""
        if self.boot_id is not None and self.boot_id == clock.boot_id():
            return clock.boottime() >= self.expires_boottime
        return clock.now() >= self.expires_at

    def to_result(self) -> dict[str, t.Any]:
        return {
            "owner": self.owner,
            "purpose": self.purpose,
            "since": _utc(self.since),
            "expires_at": _utc(self.expires_at),
        }

    def __str__(self) -> str:
        return f"{self.owner} ({self.purpose}) since {_utc(self.since)}, until {_utc(self.expires_at)} if not renewed"


class HeldError(BalanceError):
    """Somebody else holds the lease."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"The host is leased to {lease}. Nothing was touched.")
        self.lease = lease

    def to_result(self) -> dict[str, t.Any]:
        return {**super().to_result(), "lease": self.lease.to_result()}


class UnusableError(BalanceError):
    """No lease can be kept on this host, whoever wants it: its disk is full, for instance."""

    def to_result(self) -> dict[str, t.Any]:
        return {**super().to_result(), "unusable": True}


@dataclass(frozen=True)
class Taken:
    """The lease as it is now, one's own as it was before, and the expired one of somebody else that had to give way."""

    lease: Lease | None
    before: Lease | None
    taken_over: Lease | None


def read(*, root: str = "/", clock: Clock = Clock()) -> Lease | None:
    """Return the lease that is in force, None where there is none. Raises BalanceError where that is not known."""
    lease = _load(root)
    return None if lease is None or lease.expired(clock) else lease


def take(
    owner: str, *, purpose: str, seconds: float, wait_seconds: float = 0, root: str = "/", clock: Clock = Clock()
) -> Taken:
    """Take the lease for so many seconds from now, or prolong one's own. Raises HeldError after RV(wait_seconds)."""
    deadline = clock.boottime() + wait_seconds
    while True:
        try:
            return _take_now(owner, purpose=purpose, seconds=seconds, root=root, clock=clock)
        except HeldError:
            if clock.boottime() >= deadline:
                raise
        clock.sleep(min(1.0, max(deadline - clock.boottime(), 0.01)))


def renew(owner: str, *, seconds: float, root: str = "/", clock: Clock = Clock()) -> Taken:
    """Renew one's own lease. Raises HeldError where somebody else has it, BalanceError where nobody has, and
    UnusableError where it cannot be written.

    A lease whose time was over still is one's own where nobody took it over.
    """
    with _locked(root, clock):
        before = _mine(_load(root), owner)
        if before.boot_id == clock.boot_id():
            # Who renews it for a shorter time, one of several moves for instance, must not cut it short for the others.
            seconds = max(seconds, before.expires_boottime - clock.boottime())
        after = _lasting(before, seconds, clock)
        _store(after, root)
        return Taken(after, before, None)


def release(owner: str, *, root: str = "/", clock: Clock = Clock()) -> Taken:
    """Release one's own lease. A lease of another owner is left as it is."""
    with _locked(root, clock):
        before = _load(root)
        if before is None or before.owner != owner:
            return Taken(before, before, None)
        with _translated(root):
            os.unlink(_path(root))
        return Taken(None, before, None)


def act(
    *,
    state: str,
    owner: str,
    purpose: str,
    lease_seconds: float,
    wait_seconds: float,
    check_mode: bool,
    root: str = "/",
    clock: Clock = Clock(),
) -> Taken:
    """Do what the module host_lease is asked for. Raises BalanceError."""
    check_number("lease_seconds", lease_seconds, _SHORTEST_SECONDS, _LONGEST_SECONDS)
    check_number("wait_seconds", wait_seconds, 0, _LONGEST_SECONDS)
    if check_mode:
        return _foresee(state, owner, purpose=purpose, seconds=lease_seconds, root=root, clock=clock)
    if state == "absent":
        return release(owner, root=root, clock=clock)
    if state == "renew":
        return renew(owner, seconds=lease_seconds, root=root, clock=clock)
    return take(owner, purpose=purpose, seconds=lease_seconds, wait_seconds=wait_seconds, root=root, clock=clock)


@contextlib.contextmanager
def kept(owner: str | None, *, seconds: float, root: str = "/", clock: Clock = Clock()) -> t.Iterator[None]:
    """Renew one's own lease at the start and again and again while the block runs; RV(owner) None = there is none.

    Raises HeldError or BalanceError at the start only: what has begun, a migration for instance, is brought to its end.
    """
    check_number("lease_seconds", seconds, _SHORTEST_SECONDS, _LONGEST_SECONDS)
    if owner is None:
        yield
        return
    renew(owner, seconds=seconds, root=root, clock=clock)
    done = threading.Event()

    def prolong() -> None:
        while not done.wait(seconds / 3):
            with contextlib.suppress(BalanceError):
                renew(owner, seconds=seconds, root=root, clock=clock)

    thread = threading.Thread(target=prolong, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _take_now(owner: str, *, purpose: str, seconds: float, root: str, clock: Clock) -> Taken:
    with _locked(root, clock):
        taken = _next(_load(root), owner, purpose=purpose, seconds=seconds, clock=clock)
        if taken.lease is not None:
            _store(taken.lease, root)
        return taken


def _next(before: Lease | None, owner: str, *, purpose: str, seconds: float, clock: Clock) -> Taken:
    """Return the lease as it is after it is taken. Raises HeldError."""
    if before is not None and before.owner == owner:
        return Taken(_lasting(dataclasses.replace(before, purpose=purpose), seconds, clock), before, None)
    if before is not None and not before.expired(clock):
        raise HeldError(before)
    now = clock.now()
    fresh = Lease(owner, purpose, since=now, expires_at=now, boot_id=None, expires_boottime=0.0)
    return Taken(_lasting(fresh, seconds, clock), None, before)


def _mine(before: Lease | None, owner: str) -> Lease:
    if before is None:
        raise BalanceError(f"{owner} does not hold a lease on this host any more, so it must not act on it.")
    if before.owner != owner:
        raise HeldError(before)
    return before


def _foresee(state: str, owner: str, *, purpose: str, seconds: float, root: str, clock: Clock) -> Taken:
    """Return the lease as it would be in that state, and change nothing. Raises BalanceError."""
    before = _load(root)
    if state == "present":
        return _next(before, owner, purpose=purpose, seconds=seconds, clock=clock)
    if state == "renew":
        return Taken(_lasting(_mine(before, owner), seconds, clock), before, None)
    return Taken(None if before is not None and before.owner == owner else before, before, None)


def _lasting(lease: Lease, seconds: float, clock: Clock) -> Lease:
    return dataclasses.replace(
        lease,
        expires_at=clock.now() + seconds,
        boot_id=clock.boot_id(),
        expires_boottime=clock.boottime() + seconds,
    )


def _path(root: str) -> str:
    return os.path.join(root, DIRECTORY, "lease.json")


@contextlib.contextmanager
def _translated(root: str) -> t.Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnusableError(f"The lease in {_path(root)} cannot be used: {error.strerror}.") from error


@contextlib.contextmanager
def _locked(root: str, clock: Clock) -> t.Iterator[None]:
    path = os.path.join(root, DIRECTORY, "lease.lock")
    with _translated(root):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        # It is never removed: two who had opened two files of one name could both have the lock.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = clock.boottime() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if clock.boottime() >= deadline:
                    raise UnusableError(
                        f"Another process has locked {path} for more than {_LOCK_SECONDS:g} seconds: end it."
                    ) from None
            clock.sleep(0.01)
        yield
    finally:
        os.close(handle)


def _load(root: str) -> Lease | None:
    """Read the file, None where there is none. One that cannot be understood may be anybody's, so it is an error."""
    path = _path(root)
    with _translated(root):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except FileNotFoundError:
            return None
    try:
        found = json.loads(text)
        if found.pop("schema") != SCHEMA:
            raise ValueError
        lease = Lease(
            owner=str(found["owner"]),
            purpose=str(found["purpose"]),
            since=float(found["since"]),
            expires_at=float(found["expires_at"]),
            boot_id=found["boot_id"],
            expires_boottime=float(found["expires_boottime"]),
        )
        # What is no time can neither be told nor be over.
        lease.to_result()
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise BalanceError(
            f"{path} is not a lease that this version understands. If nobody acts on this host, remove the file."
        ) from error
    return lease


def _store(lease: Lease, root: str) -> None:
    path = _path(root)
    with _translated(root):
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".lease-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"schema": SCHEMA, **dataclasses.asdict(lease)}, file)
                file.flush()
                # A power failure must not leave an empty file, which would have to count as somebody's.
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def _utc(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
