# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the one place that imports libvirt and opens connections.

The agent uses it on hosts without Ansible, so what only modules need of Ansible is imported where it is needed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import traceback
import typing as t
import urllib.parse
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils._errors import (
    MAY_THIS_USER,
    BalanceError,
    DeadlineError,
    is_connection_lost,
    translate,
)
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_printable

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

LIBVIRT_IMPORT_ERROR: str | None
try:
    import libvirt
except ImportError:
    libvirt = None
    LIBVIRT_IMPORT_ERROR = traceback.format_exc()
else:
    LIBVIRT_IMPORT_ERROR = None

# The binding comes from the distribution, for the distribution's own interpreter.
_SYSTEM_INTERPRETERS = ("/usr/bin/python3", "/usr/libexec/platform-python")

OPEN_TIMEOUT_SECONDS = 30
# Over ssh to a slow or loaded host, a connection that is going to be good takes half of it.
REMOTE_OPEN_TIMEOUT_SECONDS = 60
# So many calls of a process may be inside libvirt. A module leaves fewer alone, but the agent asks for ever.
MOST_INSIDE = 16
# A peer that does not answer this many times, this many seconds apart, is given up: after 20 seconds.
_KEEPALIVE_INTERVAL_SECONDS = 5
_KEEPALIVE_COUNT = 3

T = t.TypeVar("T")


def argument_spec(**options: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return the argument spec of a module: the connection's options and its own."""
    from ansible.module_utils.basic import env_fallback

    return {
        "uri": {"type": "str", "default": "qemu:///system", "fallback": (env_fallback, ["LIBVIRT_DEFAULT_URI"])},
        **options,
    }


def is_local(uri: str) -> bool:
    """Return whether a libvirt URI names no other machine."""
    return not urllib.parse.urlsplit(uri).netloc


def with_no_tty(uri: str) -> str:
    """Add no_tty=1 to an ssh URI that does not say otherwise: a password prompt would wait for ever.

    Source: https://libvirt.org/uri.html, "extra parameters".
    """
    parts = urllib.parse.urlsplit(uri)
    if not parts.scheme.endswith("+ssh") or "no_tty" in urllib.parse.parse_qs(parts.query, keep_blank_values=True):
        return uri
    base, _mark, _query = uri.partition("?")
    return f"{base}?{parts.query}&no_tty=1" if parts.query else f"{base}?no_tty=1"


class Call(threading.Thread, t.Generic[T]):
    """One call into libvirt that may be left alone. RV(holds) lives for as long as the call is inside."""

    def __init__(self, call: t.Callable[[], T], *, holds: object = None) -> None:
        # A daemon thread: a call that is stuck does not keep the process from ending.
        super().__init__(name="libvirt call", daemon=True)
        self._call = call
        self._holds = holds
        self.done = threading.Event()
        self.left_alone = False
        self.outcome: list[T] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.outcome.append(self._call())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits for it
            self.failure = error
        finally:
            del self._call, self._holds
            if self.left_alone:
                # Nobody asks any more, and both may hold a connection, which is closed when nothing does.
                self.outcome.clear()
                self.failure = None
            self.done.set()


class Line:
    """Calls one after the other: while the last one has not come back, no other one is made.

    Two calls at once in one connection crash libvirt before 10.4 when the connection breaks (CVE-2024-4418: what
    wakes the one thread up writes to the stack of the other, which has ended).
    """

    def __init__(self) -> None:
        self._last: Call[t.Any] | None = None

    @property
    def busy(self) -> bool:
        """Return whether a call that was left alone has not come back."""
        return self._last is not None and not self._last.done.is_set()

    def call(self, call: t.Callable[[], T], seconds: float, *, doing: str, holds: object = None) -> T:
        """Return what RV(call) returns, or raise DeadlineError after RV(seconds).

        A call into libvirt cannot be interrupted, not by a signal either. After the deadline it is left alone.
        """
        if self.busy:
            raise DeadlineError(f"Cannot {doing}: libvirt has not answered the question before.")
        if len(_inside()) >= MOST_INSIDE:
            raise DeadlineError(f"Cannot {doing}: libvirt has left {MOST_INSIDE} questions unanswered.")
        thread = self._last = Call(call, holds=holds)
        thread.start()
        thread.join(seconds)
        if not thread.done.is_set():
            thread.left_alone = True
            raise DeadlineError(f"Cannot {doing}: libvirt did not answer within {seconds:g} seconds.")
        self._last = None
        if thread.failure is not None:
            raise thread.failure
        return thread.outcome[0]


def call_with_deadline(call: t.Callable[[], T], seconds: float, *, doing: str) -> T:
    """Make a call that opens its own connection: see Line.call()."""
    return Line().call(call, seconds, doing=doing)


def _inside() -> list[Call[t.Any]]:
    return [thread for thread in threading.enumerate() if isinstance(thread, Call) and not thread.done.is_set()]


def leave(status: int = 1) -> None:
    """End the process at once where a call that was left alone is still inside libvirt, otherwise return.

    Such a thread may wake up while the interpreter and the libraries are torn down below it, and crash. RV(status) is
    the exit status; what a module has printed is its result whatever that is.
    """
    if not _inside():
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(status)


# First come, last served: what others have to do at the end of the process is done before.
atexit.register(leave)


@dataclass(frozen=True)
class Connection:
    """An open connection: RV(api) is the libvirt module, RV(handle) its virConnect, both without type stubs."""

    api: t.Any
    handle: t.Any
    uri: str
    line: Line = field(default_factory=Line, repr=False, compare=False)

    @property
    def local(self) -> bool:
        """Return whether the hypervisor is this machine, so that its /proc and files can be looked at."""
        return is_local(self.uri)

    @property
    def xen(self) -> bool:
        """Return whether the hypervisor is Xen, of whose driver (libxl) many calls of libvirt get no answer."""
        kind: str = self.handle.getType()
        return kind == "Xen"

    def lost(self, error: Exception) -> bool:
        """Return whether the connection itself is gone, so that every later call would fail as well.

        Where each driver has a daemon of its own, the one of the hypervisor opens connections to the others. When one
        of them is not installed or does not run, its error comes through and looks like the loss of this connection.
        Source: remoteOpenConn in libvirt's src/remote/remote_daemon_dispatch.c.
        """
        if not is_connection_lost(error):
            return False
        try:
            # Libvirt marks a broken connection before the call returns, and asks nobody here.
            return not self.handle.isAlive()
        except self.api.libvirtError:
            return True

    def call(self, call: t.Callable[[], T], seconds: float, *, doing: str) -> T:
        """Make a call through this connection: see Line.call(). While it is busy nothing else may use the handle."""
        return self.line.call(call, seconds, doing=doing, holds=self)


class _EventLoop:
    """Libvirt's event loop in a thread, one per process.

    Without it there is no keepalive, and a frozen peer blocks for ever. Must be running before a connection is opened.
    """

    def __init__(self, api: t.Any) -> None:
        self.api = api
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="libvirt events", daemon=True)

    def start(self) -> None:
        self.api.virEventRegisterDefaultImpl()
        self._thread.start()
        # A thread that is inside libvirt while the interpreter is torn down can crash it.
        atexit.register(self.stop)

    def stop(self) -> None:
        self._stopping.set()
        # The loop sleeps until something happens: a timer that is due at once is something.
        self.api.virEventAddTimeout(0, lambda _timer, _opaque: None, None)
        self._thread.join(1)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.api.virEventRunDefaultImpl()


_event_loops: list[_EventLoop] = []
_event_loops_lock = threading.Lock()


def _ensure_events(api: t.Any) -> None:
    with _event_loops_lock:
        if not any(loop.api is api for loop in _event_loops):
            loop = _EventLoop(api)
            loop.start()
            _event_loops.append(loop)


def require_libvirt(module: AnsibleModule) -> t.Any:
    """Return the libvirt module, in an interpreter that has it.

    Where this interpreter has not, the module is run again by the system's own. Ends the module with a clear
    message where none has it.
    """
    from ansible.module_utils.basic import missing_required_lib
    from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

    if LIBVIRT_IMPORT_ERROR is not None:
        if not has_respawned():
            interpreter = probe_interpreters_for_module(list(_SYSTEM_INTERPRETERS), "libvirt")
            if interpreter is not None:
                respawn_module(interpreter)
        module.fail_json(
            msg=missing_required_lib(
                "libvirt-python",
                reason="to talk to libvirt. Install the package python3-libvirt (SUSE: python3-libvirt-python)",
            ),
            exception=LIBVIRT_IMPORT_ERROR,
        )
    return libvirt


@contextlib.contextmanager
def connect(api: t.Any, uri: str, *, read_only: bool, seconds: float | None = None) -> t.Iterator[Connection]:
    """Open a connection for the length of a with block.

    RV(seconds) is how long opening it may take, None = as long as is usual for such an address.
    Raises BalanceError where the hypervisor cannot be reached; a libvirtError of the block comes out as it is.
    """
    # Otherwise the binding prints every error, the expected ones too, to stderr.
    api.registerErrorHandler(lambda _context, _error: None, None)
    check_printable("A libvirt URI", uri)
    address = with_no_tty(uri)
    _ensure_events(api)
    handle = _open(api, address, read_only=read_only, seconds=seconds)
    connection = Connection(api=api, handle=handle, uri=address)
    try:
        yield connection
    finally:
        # A call that was left alone is still inside and holds the connection, which the binding closes after that.
        if not connection.line.busy:
            # A connection that broke meanwhile cannot be closed properly.
            with contextlib.suppress(api.libvirtError):
                handle.close()


def _open(api: t.Any, uri: str, *, read_only: bool, seconds: float | None) -> t.Any:
    opener = api.openReadOnly if read_only else api.open
    if seconds is None:
        seconds = OPEN_TIMEOUT_SECONDS if is_local(uri) else REMOTE_OPEN_TIMEOUT_SECONDS
    try:
        handle = call_with_deadline(lambda: opener(uri), seconds, doing=f"connect to {uri}")
    except api.libvirtError as error:
        # The socket may be closed to this user, and then libvirt tells no more than that it cannot be opened.
        hint = MAY_THIS_USER if is_local(uri) and os.geteuid() != 0 else None
        raise translate(api, error, doing=f"connect to {uri}", hint=hint) from error
    except DeadlineError as error:
        # Here a second attempt would not help, so it is an error like any other.
        raise BalanceError(error.message) from error
    # Drivers inside this process (test, and esx and others) have no peer to keep alive.
    with contextlib.suppress(api.libvirtError):
        handle.setKeepAlive(_KEEPALIVE_INTERVAL_SECONDS, _KEEPALIVE_COUNT)
    return handle


class KeptConnection:
    """One connection to libvirt that is kept open, and opened again after it was dropped."""

    def __init__(self, api: t.Any, uri: str, *, read_only: bool) -> None:
        self._api, self._uri, self._read_only = api, uri, read_only
        self._stack = contextlib.ExitStack()
        self._connection: Connection | None = None

    def get(self) -> Connection:
        """Return the connection. Raises BalanceError where the hypervisor cannot be reached."""
        if self._connection is None:
            self._connection = self._stack.enter_context(connect(self._api, self._uri, read_only=self._read_only))
        return self._connection

    def drop(self) -> None:
        self._connection = None
        self._stack.close()
