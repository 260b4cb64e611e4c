"""What a session may do to a repository: each request passes the policy, then goes to the store."""

import contextlib
from collections.abc import Iterator

import msgspec

from strongroom.errors import (
    Damaged,
    NotARepository,
    ObjectMissing,
    StoreRefused,
    VersionUnknown,
)
from strongroom.repository import founding
from strongroom.repository.founding import Founding
from strongroom.server import access, policy
from strongroom.server.incoming import Incoming, IncomingRecord, MendedRecord, Repairing
from strongroom.server.logguard import LogGuard
from strongroom.server.policy import Restriction, Verb
from strongroom.server.quota import Quota, quota_of
from strongroom.store.local import LocalStore
from strongroom.store.protocol import Listed
from strongroom.store.reserve import DEFAULT, Reserved
from strongroom.store.wire import MAX_DATA, MAX_OBJECT, Open


class ServeOptions(msgspec.Struct, frozen=True):
    """The words of the forced command: the only thing that says what a client may do."""

    restrictions: frozenset[Restriction] = frozenset()
    storage_quota: int | None = None  # bytes, for each restricted folder, or else for each repository
    paths: list[str] = []  # --restrict-to-path
    repositories: list[str] = []  # --restrict-to-repository
    client: str | None = None  # the name for the journal
    log_file: str | None = None
    server_key: bytes = b""  # the owner's public key, offered to clients


class Host:
    """At most one repository, once `open` has found it. Methods may be called from several threads."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._opened: tuple[LocalStore, LogGuard] | None = None
        self._quotas: list[Quota] = []
        self._restrictions = options.restrictions
        self._beyond = 0  # bytes that may be written beyond the quota, to free more than that

    @property
    def server_key(self) -> bytes:
        return self._options.server_key

    def open(self, request: Open) -> None:
        """Raises `PathNotAllowed`, `StoreRefused`, and what `LocalStore.open` and its likes raise."""
        if self._opened is not None:
            raise StoreRefused("a repository is open already: a connection is for one")
        place = access.resolve(request.path, self._options.paths, self._options.repositories)
        if request.create:
            self._check(Verb.CREATE, "")
            access.check_not_nested(place.path)
            reserve = request.reserve
            if reserve is not None and self._options.storage_quota is not None:
                reserve = min(reserve, DEFAULT)  # no quota counts it
            store = LocalStore.create(place.path, make_parents=request.make_parents, reserve=reserve)
        elif request.remains:
            self._check(Verb.DELETE, founding.NAME)
            store = LocalStore.open_remains(place.path)
        else:
            store = LocalStore.open(place.path)
        own = _founding_of(store)
        if own is not None and own.append_only:
            self._restrictions |= {Restriction.APPEND_ONLY}
        for folder, limit in self._limits(store, place.scope, own).items():
            self._quotas.append(quota_of(store, folder, limit))
        self._opened = store, LogGuard(store)

    def read(self, name: str, offset: int, length: int | None) -> Iterator[bytes]:
        """The object in pieces of MAX_DATA bytes, the last may be shorter."""
        self._check(Verb.GET, name)
        left = MAX_OBJECT if length is None else length
        while True:
            piece = self._store.get(name, offset, min(left, MAX_DATA))
            if piece:
                yield piece
            left -= len(piece)
            offset += len(piece)
            if len(piece) < MAX_DATA or not left:
                return

    def list(self, prefix: str) -> Iterator[Listed]:
        self._check(Verb.LIST, prefix)
        return self._store.list(prefix)

    def receive(self, name: str, size: int) -> Incoming:
        self._check(Verb.PUT, name)
        return Incoming(self._store, self._quotas, name, size, beyond=self._beyond)

    def receive_mending(self, name: str, size: int) -> Incoming:
        """What takes a damaged object's place: nothing sound is lost, so whoever may add may do this."""
        self._check(Verb.PUT, name)
        return Repairing(self._store, self._quotas, name, size, beyond=self._beyond)

    def receive_record(self, name: str, size: int, *, many: bool) -> IncomingRecord:
        self._check(Verb.APPEND, name)
        store, guard = self._opened_pair()
        return IncomingRecord(store, self._quotas, guard, name, size, many=many, beyond=self._beyond)

    def mend_record(self, name: str, size: int) -> MendedRecord:
        """What was there is lost already: whoever may append may bring it back, if it is what it was."""
        self._check(Verb.APPEND, name)
        store, guard = self._opened_pair()
        mended = MendedRecord(store, self._quotas, guard, name, size)
        with contextlib.suppress(StoreRefused):
            self._check(Verb.DELETE, name)
            mended.trusted = True
        return mended

    def delete(self, name: str) -> None:
        self._check(Verb.DELETE, name)
        with contextlib.ExitStack() as freeing:
            if self._quotas:
                size = self._store.size(name)
                for quota in self._quotas:
                    freeing.enter_context(quota.freeing(size))
            self._store.delete(name)

    def reserve(self, spend: bool | None) -> Reserved:
        """Let this session use what is kept for a full disk, or refill it; only whoever may remove packs."""
        store = self._store
        if spend is not None:
            policy.check(Verb.DELETE, "packs/00/" + "0" * 64, self._restrictions)
            self._beyond = store.reserve().wanted if spend else 0
            if spend:
                store.release_reserve()
            else:
                store.refill_reserve()
        return store.reserve()

    def room(self) -> int:
        """Bytes that this session may still store."""
        rooms = [self._store.room(), *(quota.room(self._beyond) for quota in self._quotas)]
        return max(0, min(rooms))

    def close(self) -> None:
        for quota in self._quotas:
            quota.close()
        if self._opened is not None:
            self._opened[0].close()

    def _check(self, verb: Verb, target: str) -> None:
        policy.check(verb, target, self._restrictions)

    @property
    def _store(self) -> LocalStore:
        return self._opened_pair()[0]

    def _opened_pair(self) -> tuple[LocalStore, LogGuard]:
        if self._opened is None:
            raise StoreRefused("no repository is open yet")
        return self._opened

    def _limits(self, store: LocalStore, scope: str, own: Founding | None) -> dict[str, int]:
        """Folder to bytes: the forced command's quota, and the one that `init` gave the repository."""
        limits: dict[str, int] = {}
        if policy.reads_only(self._restrictions):
            return limits
        if self._options.storage_quota is not None:
            limits[scope] = self._options.storage_quota
        if own is not None and own.storage_quota is not None:
            limits[store.path] = min(own.storage_quota, limits.get(store.path, own.storage_quota))
        return limits


def _founding_of(store: LocalStore) -> Founding | None:
    """None for a config that is not there or cannot be read: that is for the client to complain about."""
    try:
        return founding.decode(store.get(founding.NAME, 0, founding.MAX_SIZE + 1), store.path)[1]
    except (ObjectMissing, NotARepository, VersionUnknown, Damaged):
        return None
