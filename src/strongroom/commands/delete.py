"""Delete archives, by a record in the log; or a whole repository, for good."""

import contextlib
import os
import shutil

from strongroom.commands.listing import find_archive
from strongroom.commands.results import ArchiveInfo
from strongroom.errors import ArchiveMissing, ObjectMissing
from strongroom.ids import ArchiveId
from strongroom.reporting import Reporter
from strongroom.repository.history import Places
from strongroom.repository.log import ArchivesBody, LogState
from strongroom.repository.repository import Repository
from strongroom.store.local import LocalStore

# The config goes before the keys and the log: without it nothing is a repository any more,
# and with it an interrupted deletion can be run again.
_ORDER = ("archives/", "refs/", "index/", "packs/", "parity/", "leases/", "config", "keys/", "log/")


def delete_archives(
    repository: Repository, names: list[str], *, dry_run: bool, reporter: Reporter
) -> list[ArchiveInfo]:
    """Mark archives as deleted. Nothing is freed by it, and `undelete` takes it back.

    Raises `ArchiveMissing`, and the store's errors.
    """
    found = [find_archive(repository, name) for name in names]
    if dry_run or not found:
        return found
    ids = [info.id for info in found]

    def body(state: LogState) -> ArchivesBody:
        for info in found:
            if state.archives[ArchiveId(info.id)].deleted is not None:
                raise ArchiveMissing(f"Archive {info.name} was deleted meanwhile. Nothing was done.")
        return ArchivesBody([bytes(one) for one in ids])

    repository.commit("delete", body)
    reporter.info("Their space is freed by `strongroom compact`, after the quarantine.")
    return found


def delete_repository(repository: Repository) -> None:
    """Remove every object, at once and for good. Raises the store's errors."""
    store = repository.store
    for prefix in _ORDER:
        if prefix.endswith("/"):
            for listed in list(store.list(prefix)):
                with contextlib.suppress(ObjectMissing):
                    store.delete(listed.name)
        else:
            with contextlib.suppress(ObjectMissing):
                store.delete(prefix)
    if isinstance(store, LocalStore):
        _remove_empty_folders(store.path)


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
