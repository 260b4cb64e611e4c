"""From a location in the user's words to an opened repository."""

import os
from collections.abc import Callable
from threading import Thread

from strongroom.crypto import sealing
from strongroom.errors import (
    AccessAborted,
    CacheFull,
    CommandError,
    Damaged,
    LogBroken,
    NotARepository,
    ObjectMissing,
    RepositoryMissing,
    StoreError,
    StrangerDeclined,
)
from strongroom.reporting import REPOSITORY_DAMAGED, Notice, Reporter, SilentReporter
from strongroom.repository import founding, keyring
from strongroom.repository.keyfiles import FoundKey, Need
from strongroom.repository.places import Directories, Places
from strongroom.repository.repository import Repository
from strongroom.repository.unlocking import PassphraseSource, Unlocking
from strongroom.store.local import LocalStore
from strongroom.store.location import Location, parse_location
from strongroom.store.protocol import Store

__all__ = [
    "NOT_TO_BE_HAD",
    "Directories",
    "Need",
    "PassphraseSource",
    "create_store",
    "open_repository",
    "open_store",
]

NOT_TO_BE_HAD = (RepositoryMissing, NotARepository, StoreError, Damaged)
"""Errors after which a copy stands in for a repository."""

Confirm = Callable[[str, str], bool]
"""Asks a yes/no question; the second argument names the environment variable that answers it."""


def open_store(location: str) -> Store:
    """The store of an existing repository. Raises `RepositoryMissing`, `NotARepository`."""
    return _open(parse_location(location))


def _open(place: Location) -> Store:
    _refuse_borg(place)
    if place.is_remote:
        from strongroom.store.ssh import SshOptions, SshStore

        return SshStore.open(place, SshOptions.of(os.environ))
    return LocalStore.open(place.path)


def open_remains(location: str) -> Store:
    """What an interrupted `delete` left of a repository, to be removed. Raises `NotARepository` where that
    is not so, `RepositoryMissing`, and the store's errors."""
    place = parse_location(location)
    _refuse_borg(place)
    if place.is_remote:
        from strongroom.store.ssh import SshOptions, SshStore

        return SshStore.open_remains(place, SshOptions.of(os.environ))
    return LocalStore.open_remains(place.path)


def create_store(location: str, *, make_parents: bool, reserve: int | None = None) -> Store:
    """The store of a repository that is to be founded, with `reserve` bytes kept for a full disk.

    Raises `RepositoryExists`, and the store's errors.
    """
    place = parse_location(location)
    _refuse_borg(place)
    if place.is_remote:
        from strongroom.store.ssh import SshOptions, SshStore

        options = SshOptions.of(os.environ)
        return SshStore.create(place, options, make_parents=make_parents, reserve=reserve)
    return LocalStore.create(place.path, make_parents=make_parents, reserve=reserve)


def _refuse_borg(place: Location) -> None:
    if place.is_borg:
        raise CommandError(
            f"{place.repository()} is a Borg repository, and this needs one of strongroom's. What reads "
            "archives reads Borg's, too; `strongroom transfer --from` brings them over."
        )


def open_or_create_store(location: str) -> Store:
    """For a copy of a repository: an empty or missing folder will do. Raises what the two others raise."""
    try:
        return open_store(location)
    except (RepositoryMissing, NotARepository):
        return create_store(location, make_parents=False)


def open_repository(
    location: str,
    directories: Directories,
    passphrases: PassphraseSource | Unlocking,
    *,
    confirm: Confirm,
    need: Need = Need.READ,
    reporter: Reporter | None = None,
    lasting: bool = False,
    fallback: str | None = None,
    copy_as_it_is: bool = False,
) -> Repository:
    """Read the config, verify the log, unlock a key that fits the need.

    `reporter` is told of damage that reading the repository survives. `fallback` is the location of a copy
    that serves, for reading, where the repository is damaged or gone. `lasting` is for programs that
    stay: they read on after a connection was lost. With `copy_as_it_is` a copy is not asked to become the
    original, whatever the need: nothing may be recorded in it.
    Raises `RepositoryMissing`, `NotARepository`, `LogRolledBack`, `LogBroken`, `KeyMissing`,
    `PassphraseWrong`, `RoleInsufficient`, `AccessAborted`, and the store's errors.
    """

    unlocking = passphrases if isinstance(passphrases, Unlocking) else Unlocking(passphrases)

    def reach(place: str) -> Store:
        if lasting:
            from strongroom.store.lasting import LastingStore

            return LastingStore(lambda: open_store(place))
        return open_store(place)

    try:
        return _open_at(
            location, fallback, None, directories, unlocking, confirm, need, reporter, reach, copy_as_it_is
        )
    except NOT_TO_BE_HAD as error:
        if fallback is None:
            raise
        (reporter or SilentReporter()).warn(Notice(f"{error} Going on with {fallback}.", "Fallback"))
        return _open_at(fallback, None, location, directories, unlocking, confirm, need, reporter, reach)


def open_copy(
    location: str, original: str, directories: Directories, passphrases: PassphraseSource, *, confirm: Confirm
) -> Repository:
    """The copy of the repository at `original`, for its structure: it may lag behind, and ends when it ends.

    Raises what `open_repository` does. Not beside the original: they share a cache.
    """
    return _open_at(
        location,
        None,
        original,
        directories,
        Unlocking(passphrases),
        confirm,
        Need.STRUCTURE,
        None,
        open_store,
    )


def _open_at(
    location: str,
    fallback: str | None,
    instead_of: str | None,
    directories: Directories,
    unlocking: Unlocking,
    confirm: Confirm,
    need: Need,
    reporter: Reporter | None,
    reach: Callable[[str], Store],
    copy_as_it_is: bool = False,
) -> Repository:
    """`instead_of` is the location that the copy at `location` stands in for."""
    store = reach(location)
    repository = None
    try:
        if fallback is not None:
            from strongroom.repository.fallback import FallbackStore

            tell = _once((reporter or SilentReporter()).warn)
            store = FallbackStore(store, lambda: reach(fallback), tell)
        as_replica = instead_of is not None
        repository = open_structure(store, location, directories, as_replica=as_replica)
        if reporter is not None:
            repository.reporter = reporter
        if instead_of is None:
            _check_acquaintance(repository, location, directories, confirm)
        elif need is not Need.STRUCTURE and not _is_at(instead_of, repository, directories):
            _check_acquaintance(repository, location, directories, confirm, remember=False)
        keys = None if need is Need.STRUCTURE else _KeySearch(repository, directories, need, unlocking)
        try:
            _read_log(repository, need, bridge=fallback is None)
            if keys is not None:
                sealing.load_curves()
        finally:
            if keys is not None:
                keys.join()
        if need in _WRITING:
            repository.history.check_may_append()
        repository.read_without_memory()
        if repository.is_replica:
            settled = Need.READ if copy_as_it_is else need
            repository = _settle_replica(repository, location, directories, confirm, settled)
        if not repository.state.head.seq:
            raise LogBroken(
                f"The log of {location} is empty: its `init` was interrupted, or the log was removed. "
                "If the repository was never used, remove its folder and run `init` again."
            )
        if keys is not None:
            found = keys.result()
            secrets, key = keyring.unlock(
                found, need, repository.state, unlocking.passphrases, directories.keys, unlocking.derive
            )
            repository.use_key(secrets, key)
    except BaseException as error:
        if repository is not None:
            repository.__exit__(type(error), error, error.__traceback__)
        else:
            store.close()
        raise
    return repository


def _read_log(repository: Repository, need: Need, *, bridge: bool) -> None:
    """For reading, `bridge` what is damaged: only who may not write can do with less."""
    try:
        repository.history.sync()
    except LogBroken:
        if need in _WRITING or not bridge or repository.is_replica:
            raise
        repository.bridge_log()


def _once(warn: Callable[[Notice], None]) -> Callable[[str], None]:
    told: set[str] = set()

    def tell(text: str) -> None:
        if text not in told:
            told.add(text)
            warn(Notice(text, *REPOSITORY_DAMAGED))

    return tell


class _KeySearch(Thread):
    """`find_keys` while the log is fetched: a distant server is asked for both at once."""

    def __init__(
        self, repository: Repository, directories: Directories, need: Need, unlocking: Unlocking
    ) -> None:
        super().__init__(name="keys")
        self._need = need
        self._unlocking = unlocking
        self._repository = repository
        self._directories = directories
        self._found: list[FoundKey] | BaseException = []
        self.start()

    def run(self) -> None:
        try:
            self._found = find_keys(self._repository, self._directories)
            self._unlocking.begin(self._found, self._need)
        except BaseException as error:  # noqa: BLE001  # it is raised again where the keys are asked for
            self._found = error

    def result(self) -> list[FoundKey]:
        """Of the ended search. Raises as `find_keys` does."""
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found


def _settle_replica(
    repository: Repository, location: str, directories: Directories, confirm: Confirm, need: Need
) -> Repository:
    """A copy is read with a word on its age, and written to only if it shall be the original from now on."""
    from strongroom.repository.lagging import LaggingHistory

    assert isinstance(repository.history, LaggingHistory)
    behind = repository.history.behind
    if behind:
        what = f"{location} is a copy, and lacks the last {behind} records of what this machine has seen."
        repository.reporter.warn(Notice(what, "ReplicaBehind"))
    if need not in _WRITING:
        return repository
    question = (
        f"Warning: {location} is a copy that replicate made. If you write to it, it takes the original's\n"
        "place: it can follow the original no more.\n"
        "Do you want to continue? [yN] "
    )
    if not confirm(question, "REPLICA_WRITE_IS_OK"):
        raise AccessAborted(f"Nothing was written: {location} is a copy. Name the original.")
    repository.history.promote()
    repository.security.forget_replica(repository.store.describe())
    repository.cache.close()
    promoted = open_structure(repository.store, location, directories)
    promoted.reporter = repository.reporter
    acquaint(promoted, directories)
    promoted.history.sync()
    return promoted


_WRITING = {Need.WRITE, Need.DELETE, Need.ADMIN}


def find_keys(repository: Repository, directories: Directories) -> list[FoundKey]:
    """The key files that may be used with the repository. Raises `KeyForeign`, `KeyInvalid`."""
    bare = repository.founding.protection == "none"
    return keyring.find(repository.id, repository.store, directories.keys, directories.key_file, bare=bare)


def open_structure(
    store: Store, location: str, directories: Directories, *, as_replica: bool = False
) -> Repository:
    """With no key, and its log as the cache has it. Raises `RepositoryMissing` and what `founding` raises."""
    try:
        blob = store.get(founding.NAME, 0, founding.MAX_SIZE)
    except ObjectMissing:
        raise RepositoryMissing(f"Repository {location} does not exist. Make it with `init`.") from None
    identity, founded = founding.decode(blob, location)
    return Repository(
        store, identity, founded, directories.cache, directories.security, as_replica=as_replica
    )


def _check_acquaintance(
    repository: Repository,
    location: str,
    directories: Directories,
    confirm: Confirm,
    *,
    remember: bool = True,
) -> None:
    """Ask before trusting an unencrypted stranger, and before taking one repository for another."""
    here = repository.store.describe()
    places = Places(directories.security)
    before = places.repository_at(here)
    if before is not None and before != repository.id:
        question = (
            f"Warning: The repository at location {here} is not the one that was there before!\n"
            f"(it was {before.hex()}, now it is {repository.id.hex()})\n"
            "Do you want to continue? [yN] "
        )
        if not confirm(question, "REPLACED_REPO_ACCESS_IS_OK"):
            raise AccessAborted(
                f"Access to the repository that replaced another at {here} was not confirmed."
            )
    known = repository.security.read("location")
    if known is None and not repository.sealed:
        question = (
            f"Warning: Attempting to access a previously unknown unencrypted repository!\n({here})\n"
            "Do you want to continue? [yN] "
        )
        if not confirm(question, "UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK"):
            raise StrangerDeclined(f"Access to the unknown unencrypted repository {here} was not confirmed.")
    is_home = known is not None and (known.strip() == here or repository.security.is_replica(here))
    if known is not None and not is_home:
        question = (
            f"Warning: The repository at location {here} was previously located at {known.strip()}\n"
            "Do you want to continue? [yN] "
        )
        if not confirm(question, "RELOCATED_REPO_ACCESS_IS_OK"):
            raise AccessAborted(f"Access to the moved repository {here} was not confirmed.")
    if not remember:
        return
    try:
        if not is_home:
            acquaint(repository, directories)
        elif before != repository.id:
            places.remember(here, repository.id)
    except CacheFull as error:
        repository.history.forgo_memory(error)


def _is_at(location: str, repository: Repository, directories: Directories) -> bool:
    """Whether this machine knows the repository at that place."""
    return Places(directories.security).repository_at(location) == repository.id


def acquaint(repository: Repository, directories: Directories) -> None:
    """Remember the repository and its place: later surprises are noticed."""
    here = repository.store.describe()
    repository.security.write("location", here.encode("utf-8", "surrogateescape") + b"\n")
    Places(directories.security).remember(here, repository.id)
