"""The repositories that a server keeps for its clients, opened by its owner: without any key of theirs.

What lies in a client's folder is the client's word, like what comes over the wire: links are not followed,
and each repository has a cache and a memory of its own here, so that none can pass for another one.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from strongroom.commands.opening import Directories, open_structure
from strongroom.crypto import hashing
from strongroom.crypto.keys import ServerKey
from strongroom.errors import CommandError, LogBroken, RoleInsufficient, StoreRefused, StrongroomError
from strongroom.repository.repository import Repository
from strongroom.server.clients import client_of, read_policy
from strongroom.server.ownstore import OwnStore, counted_folders
from strongroom.store.disk import translate
from strongroom.store.local import CONFIG, LocalStore
from strongroom.store.names import QUOTA

_T = TypeVar("_T")


class Kept(msgspec.Struct, frozen=True):
    client: str
    home: str  # the client's folder, absolute
    path: str  # of the repository: the same folder, or one below
    name: str  # for messages: the client's name, and the path below its folder


def kept(folder: str, names: Sequence[str] = ()) -> list[Kept]:
    """Of all clients, or of those named, by name. Raises `CommandError`, for an unknown client too."""
    folder = os.path.abspath(folder)
    policy = read_policy(folder)
    found = []
    for client in sorted(set(names)) or sorted(policy.clients):
        client_of(policy, client)
        place = os.path.join(folder, client)
        try:
            paths = sorted(repositories_below(place))
        except OSError as error:
            raise CommandError(f"{place} cannot be searched: {error.strerror}.") from error
        found += [Kept(client, place, path, os.path.relpath(path, folder)) for path in paths]
    return found


def repositories_below(place: str) -> list[str]:
    """Repositories do not lie in each other: below a config there is no need to look. Raises OSError."""
    found = []
    waiting = [place]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(path) as entries:
                inside = list(entries)
        except FileNotFoundError:
            continue
        if any(entry.name == CONFIG for entry in inside):
            found.append(path)
        else:
            waiting += [entry.path for entry in inside if entry.is_dir(follow_symlinks=False)]
    return found


def each(
    places: Sequence[Kept],
    directories: Directories,
    work: Callable[[Kept, Repository], _T],
    *,
    key: ServerKey | None = None,
) -> list[tuple[Kept, _T | StrongroomError]]:
    """`work` on one repository after the other; one that cannot be used keeps nobody from the next.

    With the server's own `key` to change them.
    """
    done: list[tuple[Kept, _T | StrongroomError]] = []
    for one in places:
        try:
            with open_kept(one, directories, key) as repository:
                done.append((one, work(one, repository)))
        except StrongroomError as error:
            done.append((one, error))
    return done


def open_kept(one: Kept, directories: Directories, key: ServerKey | None = None) -> Repository:
    """With a verified log, and no key but the server's own.

    Raises `StoreRefused` for one with links in it, `RoleInsufficient` for one that does not admit the key,
    and what opening any repository raises.
    """
    _refuse_links(one.path)
    tag = hashing.plain_hash(os.fsencode(one.path)).hex()[:32]
    own = msgspec.structs.replace(
        directories,
        cache=directories.cache / "server" / tag,
        security=directories.security / "server" / tag,
    )
    LocalStore.open(one.path)
    store = LocalStore(one.path) if key is None else OwnStore(one.path, counted_folders(one.home, one.path))
    try:
        repository = open_structure(store, one.path, own)
    except BaseException:
        store.close()
        raise
    try:
        # what clients wrote is to be remembered here, and on a full disk the room for that is kept there
        with store.spending() if key is not None else contextlib.nullcontext():
            repository.history.sync()
        if not repository.state.head.seq:
            raise LogBroken("The log is empty: `init` was interrupted, or the log was removed.")
        if key is not None:
            _admit(repository, one, key)
    except BaseException:
        repository.close()
        raise
    return repository


def _admit(repository: Repository, one: Kept, key: ServerKey) -> None:
    known = repository.state.keys.get(key.key_id())
    if known is None or known.revoked is not None:
        which = "does not name" if known is None else "has revoked"
        raise RoleInsufficient(
            f"Its log {which} this server's key {key.public().hex()}, so its owner may delete nothing: "
            f"whoever has an admin key of {one.name} can admit it, by `strongroom key add --role server`."
        )
    repository.signer = key


def _refuse_links(path: str) -> None:
    """No client can make a link through `serve`: whatever did may lead us anywhere."""
    waiting = [path]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        raise StoreRefused(
                            f"{entry.path} is a symbolic link: nothing is read or removed through it. "
                            "Put the files themselves in its place."
                        )
                    if entry.is_dir(follow_symlinks=False) and entry.name != QUOTA:
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise translate(error, path, "looking for links") from error
