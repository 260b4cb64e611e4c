"""Advisory leases: they tell others what is going on. No data hangs on them.

`shared` ones are held by those who write, `exclusive` ones by `with-lock`, whose user wants nobody else to
write for a while. Each puts up its own first and looks at the others' then, so that of two at least one
sees the other. What a killed process of this machine left behind is cleared away by whoever looks next.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec

from strongroom.errors import LockTimeout, ObjectMissing, StoreError, StoreRefused
from strongroom.malformed import MALFORMED
from strongroom.store.protocol import Store

FOLDER = "leases/"
MAX_SIZE = 4096  # bytes
_MOST = 1000  # leases looked at: a fallen client may have planted millions
_POLL = 0.2  # seconds between looks

Kind = Literal["shared", "exclusive"]


class Lease(msgspec.Struct, frozen=True):
    kind: str  # "shared" or "exclusive"
    purpose: str
    host: str
    pid: int
    since: int  # ns since the epoch


_lease = msgspec.msgpack.Decoder(Lease)


class Held(NamedTuple):
    """A lease that lies in the store; `lease` is None if nobody can read it."""

    name: str
    lease: Lease | None

    @property
    def is_exclusive(self) -> bool:
        return self.lease is not None and self.lease.kind == "exclusive"

    def describe(self) -> str:
        """Who, for what, since when: the holder's own words, for a message."""
        one = self.lease
        if one is None:
            return f"unreadable, {self.name}"
        since = datetime.fromtimestamp(one.since / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"{one.purpose[:100]} ({one.kind[:20]}), process {one.pid} on {one.host[:100]}, since {since}"


def held(store: Store) -> list[Held]:
    """All leases but those whose holder died on this machine, which are removed."""
    found = []
    for number, listed in enumerate(store.list(FOLDER)):
        if number == _MOST:
            break
        try:
            one = Held(listed.name, _decode(store.get(listed.name, 0, MAX_SIZE + 1)))
        except ObjectMissing:
            continue
        if one.lease is not None and _is_dead(one.lease):
            _drop(store, one.name)
        else:
            found.append(one)
    return found


def break_leases(store: Store) -> list[Held]:
    """Remove every lease, whoever holds it. Raises the store's errors."""
    found = []
    for listed in list(store.list(FOLDER)):
        with contextlib.suppress(ObjectMissing):
            found.append(Held(listed.name, _decode(store.get(listed.name, 0, MAX_SIZE + 1))))
            store.delete(listed.name)
    return found


@contextlib.contextmanager
def shared_lease(store: Store, purpose: str, wait: float = 0.0) -> Iterator[None]:
    """Held while a writer works. A store that refuses leases is written to without one.

    Raises `LockTimeout` when somebody has an exclusive one for longer than `wait` seconds.
    """
    deadline = time.monotonic() + wait
    while True:
        name = _put(store, "shared", purpose)
        blocking = [one for one in held(store) if one.is_exclusive]
        if not blocking:
            break
        _drop(store, name)  # or the other would wait for us
        _pause(store, deadline, wait, blocking)
    try:
        yield
    finally:
        _drop(store, name)


def respect_exclusive(store: Store, wait: float = 0.0) -> None:
    """For a writer whose work is done in one step. Raises `LockTimeout` as `shared_lease` does."""
    deadline = time.monotonic() + wait
    while blocking := [one for one in held(store) if one.is_exclusive]:
        _pause(store, deadline, wait, blocking)


@contextlib.contextmanager
def exclusive_lease(store: Store, purpose: str, wait: float = 0.0) -> Iterator[None]:
    """Held by one alone, while nobody writes. Raises `LockTimeout`, `StoreRefused`, the store's errors."""
    deadline = time.monotonic() + wait
    name, mine = None, None
    try:
        while True:
            if name is None:
                name = _put(store, "exclusive", purpose)
                if name is None:
                    raise StoreRefused(
                        f"{store.describe()} takes no leases from this client: see its rights."
                    )
            everybody = {one.name: one for one in held(store)}
            mine = everybody.pop(name, None)
            if not everybody:
                break
            # Of two that want the same, the later one steps back: they would wait for each other.
            if mine is not None and any(
                one.is_exclusive and _order(one) < _order(mine) for one in everybody.values()
            ):
                _drop(store, name)
                name = None
            _pause(store, deadline, wait, list(everybody.values()))
        yield
    finally:
        _drop(store, name)


def lull(store: Store, wait: float) -> list[Held]:
    """Wait until no other process holds a lease, for at most `wait` seconds; returns those that still do.

    For work that is safe beside writers, and better done without them.
    """
    deadline = time.monotonic() + wait
    while True:
        others = [one for one in held(store) if one.lease is None or not _is_ours(one.lease)]
        if not others or time.monotonic() >= deadline:
            return others
        time.sleep(_POLL)


def _is_ours(lease: Lease) -> bool:
    return lease.pid == os.getpid() and lease.host == os.uname().nodename


def _put(store: Store, kind: Kind, purpose: str) -> str | None:
    """None where the store refuses leases."""
    name = f"{FOLDER}{os.urandom(16).hex()}"
    lease = Lease(kind, purpose, os.uname().nodename, os.getpid(), time.time_ns())
    try:
        store.put(name, [msgspec.msgpack.encode(lease)])
    except StoreRefused:
        return None
    return name


def _drop(store: Store, name: str | None) -> None:
    if name is not None:
        # a lost one costs others a look: whoever comes next removes it, or `break-lock`
        with contextlib.suppress(StoreError):
            store.delete(name)


def _pause(store: Store, deadline: float, wait: float, blocking: list[Held]) -> None:
    if time.monotonic() >= deadline:
        others = f" and {len(blocking) - 1} more" if len(blocking) > 1 else ""
        raise LockTimeout(
            f"{store.describe()} is locked, after {wait:g} s still, by: {blocking[0].describe()}{others}. "
            "Wait longer with --lock-wait SECONDS; a lock that a crash left behind is removed by "
            "`strongroom break-lock`."
        )
    time.sleep(_POLL)


def _order(one: Held) -> tuple[int, str]:
    return (one.lease.since if one.lease is not None else 0), one.name


def _decode(blob: bytes) -> Lease | None:
    if len(blob) > MAX_SIZE:
        return None
    try:
        lease = _lease.decode(blob)
    except MALFORMED:
        return None
    return lease if 0 < lease.pid < 1 << 31 and 0 <= lease.since < 1 << 62 else None


def _is_dead(lease: Lease) -> bool:
    if lease.host != os.uname().nodename:
        return False
    try:
        os.kill(lease.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # somebody else's
    return False
