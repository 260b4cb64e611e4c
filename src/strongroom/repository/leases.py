"""Advisory leases: they tell others what is going on, and protect nothing by themselves."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator

import msgspec

from strongroom.errors import StoreError, StoreRefused
from strongroom.store.protocol import Store


class Lease(msgspec.Struct, frozen=True):
    kind: str  # "shared" or "exclusive"
    purpose: str
    host: str
    pid: int
    since: int  # ns since the epoch


@contextlib.contextmanager
def shared_lease(store: Store, purpose: str) -> Iterator[None]:
    """Held while a writer works. A store that refuses leases is written to without one."""
    name = f"leases/{os.urandom(16).hex()}"
    lease = Lease("shared", purpose, socket.gethostname(), os.getpid(), time.time_ns())
    try:
        store.put(name, [msgspec.msgpack.encode(lease)])
    except StoreRefused:
        yield
        return
    try:
        yield
    finally:
        # an append-only server keeps it until it is stale, a lost one does not mind
        with contextlib.suppress(StoreError):
            store.delete(name)
