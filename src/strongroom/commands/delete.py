"""Delete archives, by a record in the log; or a whole repository, for good."""

import contextlib
import os
import shutil

from strongroom.commands.infos import called
from strongroom.commands.opening import open_remains
from strongroom.commands.results import ArchiveInfo
from strongroom.errors import (
    ArchiveMissing,
    NotARepository,
    ObjectMissing,
    RepositoryMissing,
    StoreRefused,
)
from strongroom.ids import ArchiveId
from strongroom.reporting import Reporter
from strongroom.repository.log import ArchivesBody, LogState
from strongroom.repository.places import Places
from strongroom.repository.repository import Repository
from strongroom.store.local import LocalStore
from strongroom.store.protocol import Store

# The config goes before the keys and the log: without it nothing is a repository any more,
# and with it an interrupted deletion can be run again.
_ORDER = ("archives/", "refs/", "index/", "packs/", "parity/", "leases/", "config", "keys/", "log/")


def delete_archives(repository: Repository, found: list[ArchiveInfo], reporter: Reporter) -> None:
    """Mark archives as deleted, all or none. Nothing is freed by it, and `undelete` takes it back.

    With a backup key it is a request: the archives stay as they are until an administrator accepts it.
    Raises `ArchiveMissing` if another client deleted or renamed one meanwhile, and the store's errors.
    """
    if not found:
        return

    def body(state: LogState) -> ArchivesBody:
        for info in found:
            if info.id not in state.archives:
                raise ArchiveMissing(f"Archive {called(info)} was deleted and freed meanwhile.")
            gone = state.archives[info.id].deleted
            if gone is not None:
                how = "renamed" if gone.replaced else "deleted"
                raise ArchiveMissing(f"Archive {called(info)} was {how} meanwhile. Nothing was deleted.")
        return ArchivesBody(not_asked_for(repository, state, [info.id for info in found]))

    with repository.deleting(reporter), contextlib.suppress(NothingToAskFor):
        repository.commit("delete", body)
        reporter.outcome(outcome(repository), unexpected=repository.only_asks)


class NothingToAskFor(Exception):
    """Ends a commit: a backup key has asked for all of it before."""


def not_asked_for(repository: Repository, state: LogState, chosen: list[ArchiveId]) -> list[bytes]:
    """What a `delete` record is to name: a backup key does not ask twice. Raises `NothingToAskFor`."""
    left = [bytes(one) for one in chosen if not repository.only_asks or state.archives[one].requested is None]
    if chosen and not left:
        raise NothingToAskFor
    return left


def outcome(repository: Repository) -> str:
    if repository.only_asks:
        return (
            "Their deletion is asked for, no more: this is a backup key. They stay until an administrator "
            "accepts it with `strongroom compact --accept`."
        )
    return "Their space is freed by `strongroom compact`, after the quarantine."


def delete_repository(repository: Repository) -> None:
    """Remove every object, at once and for good. Raises `StoreRefused`, and the store's errors."""
    store = repository.store
    if repository.founding.append_only:
        raise StoreRefused(
            f"The repository {store.describe()} was made append-only: nothing in it is removed. "
            "Whoever may, removes its folder by other means."
        )
    _remove_all(store)
    if isinstance(store, LocalStore):
        _remove_empty_folders(store.path)


def deleted_remains(location: str) -> Store | None:
    """The place, if there is what a killed `delete_repository` left, and nothing else.

    Raises the store's errors.
    """
    try:
        return open_remains(location)
    except (NotARepository, RepositoryMissing):
        return None


def finish_deletion(store: Store) -> None:
    """Remove `deleted_remains`. Raises the store's errors."""
    if isinstance(store, LocalStore):
        store.remove_remains()
        _remove_empty_folders(store.path)
    else:
        _remove_all(store)


def _remove_all(store: Store) -> None:
    for prefix in _ORDER:
        if prefix.endswith("/"):
            for listed in list(store.list(prefix)):
                with contextlib.suppress(ObjectMissing):
                    store.delete(listed.name)
        else:
            with contextlib.suppress(ObjectMissing):
                store.delete(prefix)


def forget_repository(repository: Repository, *, keep_security: bool) -> None:
    """Remove this machine's cache of it, and what it remembers of it."""
    repository.close()
    shutil.rmtree(repository.cache.path, ignore_errors=True)
    if not keep_security:
        shutil.rmtree(repository.security.path, ignore_errors=True)
        Places(repository.security.path.parent).forget(repository.store.describe())


def _remove_empty_folders(top: str) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):  # what others put there stays
            os.rmdir(folder)
