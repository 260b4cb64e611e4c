"""Setting up a server: its folder, its clients, and the lines in authorized_keys that let them in.

A server is a folder `DIR` of one user: a folder for each client, and the policy file. Every operation may
be repeated: what is there already stays, what a crash left out is made up.
"""

import os
import shutil
import sys
import time
from collections.abc import Sequence

import msgspec

from strongroom.errors import CommandError
from strongroom.server import authorized, files, ownkey
from strongroom.server.clients import (
    NAME,
    VERSION,
    Client,
    ServerPolicy,
    check_client_name,
    client_of,
    read_policy,
    write_policy,
)
from strongroom.server.kept import repositories_below
from strongroom.server.policy import Restriction
from strongroom.server.quota import count
from strongroom.server.sshkeys import PublicKey, parse_public_key
from strongroom.store.disk import make_folder

# Where sshd looks for a forced command's program without any login file's help.
_PLAIN_PATH = "/usr/local/bin:/usr/bin:/bin"


class ClientAccess(msgspec.Struct, frozen=True):
    """A client as it stands now. `line` is its entry in authorized_keys."""

    name: str
    client: Client
    folder: str
    line: str
    changed: bool

    @property
    def fingerprint(self) -> str:
        return parse_public_key(self.client.key).fingerprint


class Usage(msgspec.Struct, frozen=True):
    name: str
    used: int  # bytes, whole blocks
    quota: int | None  # bytes
    repositories: int


class Change(msgspec.Struct, frozen=True):
    """What `set` is to change; None leaves it. `quota` 0 takes the quota away."""

    quota: int | None = None
    restrictions: frozenset[Restriction] | None = None


def init_server(
    folder: str, *, authorized_keys: str | None = None, program: Sequence[str] | None = None
) -> ServerPolicy:
    """Make `folder` a server's. Raises `CommandError`."""
    folder = os.path.abspath(folder)
    keys = (
        os.path.abspath(authorized_keys) if authorized_keys else os.path.expanduser("~/.ssh/authorized_keys")
    )
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        make_folder(folder, mode=0o700)
    except OSError as error:
        raise CommandError(f"{folder} cannot be made: {error.strerror}.") from error
    _check_owner(folder)
    words = list(program) if program else own_program()
    with files.locked(folder):
        ownkey.make(folder)
        if os.path.lexists(os.path.join(folder, NAME)):
            # The same again, perhaps after an upgrade that moved the program.
            policy = read_policy(folder)
            policy.program = words
            if authorized_keys:
                policy.authorized_keys = keys
        else:
            policy = ServerPolicy(VERSION, keys, words)
        os.chmod(folder, 0o700)
        write_policy(folder, policy)
        for name in policy.clients:
            _install(folder, policy, name)
    return policy


def add_client(
    folder: str, name: str, key_text: str, *, quota: int | None, restrictions: frozenset[Restriction]
) -> ClientAccess:
    """Give a client its folder and its line. Raises `CommandError`, for a key or name in use too."""
    check_client_name(name)
    key = parse_public_key(key_text)
    folder = os.path.abspath(folder)
    _check_owner(folder)
    with files.locked(folder):
        policy = read_policy(folder)
        _check_key_free(policy, name, key)
        present = policy.clients.get(name)
        if present is not None and parse_public_key(present.key).blob != key.blob:
            raise CommandError(
                f"There is a client {name} with another key: use `rotate-key`, or another name."
            )
        wanted = Client(
            f"{key.line} {key.comment}".strip(),
            sorted(restrictions),
            quota,
            present.added if present is not None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        if present is not None and (present.quota, present.restrictions) != (quota, wanted.restrictions):
            raise CommandError(f"There is a client {name} with other rights: use `set` to change them.")
        _make_client_folder(os.path.join(folder, name))
        # The key is checked against authorized_keys before anything is written down.
        access = _install(folder, policy, name, wanted)
        if present is None:
            policy.clients[name] = wanted
            write_policy(folder, policy)
        return access


def set_client(folder: str, name: str, change: Change) -> ClientAccess:
    """Raises `CommandError`. Sessions that run keep what they began with."""
    folder = os.path.abspath(folder)
    _check_owner(folder)
    with files.locked(folder):
        policy = read_policy(folder)
        present = client_of(policy, name)
        quota = present.quota if change.quota is None else change.quota or None
        restrictions = present.restrictions if change.restrictions is None else sorted(change.restrictions)
        policy.clients[name] = Client(present.key, restrictions, quota, present.added)
        write_policy(folder, policy)
        return _install(folder, policy, name)


def rotate_key(folder: str, name: str, key_text: str) -> ClientAccess:
    """The new key comes in, the old one is out. Raises `CommandError`."""
    key = parse_public_key(key_text)
    folder = os.path.abspath(folder)
    _check_owner(folder)
    with files.locked(folder):
        policy = read_policy(folder)
        present = client_of(policy, name)
        _check_key_free(policy, name, key)
        old = parse_public_key(present.key)
        renewed = Client(
            f"{key.line} {key.comment}".strip(), present.restrictions, present.quota, present.added
        )
        access = _install(folder, policy, name, renewed, replaces=old)
        policy.clients[name] = renewed
        write_policy(folder, policy)
        return access


def remove_client(folder: str, name: str) -> str:
    """Lock a client out. Its data stay; returned is where. Raises `CommandError`."""
    folder = os.path.abspath(folder)
    _check_owner(folder)
    with files.locked(folder):
        policy = read_policy(folder)
        present = client_of(policy, name)
        authorized.remove(policy.authorized_keys, name, parse_public_key(present.key))
        del policy.clients[name]
        write_policy(folder, policy)
    return os.path.join(folder, name)


def list_clients(folder: str) -> list[ClientAccess]:
    """All, by name. Raises `CommandError`."""
    folder = os.path.abspath(folder)
    policy = read_policy(folder)
    return [
        ClientAccess(name, client, os.path.join(folder, name), _line(folder, policy, name, client), False)
        for name, client in sorted(policy.clients.items())
    ]


def usage(folder: str, names: Sequence[str] = ()) -> list[Usage]:
    """What clients take on the disk; all of them, or those named. Raises `CommandError`."""
    folder = os.path.abspath(folder)
    policy = read_policy(folder)
    found = []
    for name in names or sorted(policy.clients):
        client = client_of(policy, name)
        place = os.path.join(folder, name)
        try:
            found.append(Usage(name, count(place), client.quota, len(repositories_below(place))))
        except OSError as error:
            raise CommandError(f"{place} cannot be counted: {error.strerror}.") from error
    return found


def own_program() -> list[str]:
    """The words with which sshd can start this very program."""
    found = shutil.which("strongroom", path=_PLAIN_PATH)
    here = os.path.abspath(sys.argv[0])
    if os.path.basename(here) == "strongroom":
        if found is not None and os.path.realpath(found) == os.path.realpath(here):
            return ["strongroom"]
        return [here]
    return [sys.executable, "-m", "strongroom"]


def _install(
    folder: str,
    policy: ServerPolicy,
    name: str,
    client: Client | None = None,
    *,
    replaces: PublicKey | None = None,
) -> ClientAccess:
    client = client or policy.clients[name]
    line = _line(folder, policy, name, client)
    key = parse_public_key(client.key)
    changed = authorized.install(policy.authorized_keys, line, name, key, replaces=replaces)
    return ClientAccess(name, client, os.path.join(folder, name), line, changed)


def _line(folder: str, policy: ServerPolicy, name: str, client: Client) -> str:
    words = [*policy.program, "serve", "--client", name]
    words += [f"--{restriction}" for restriction in client.restrictions]
    words += ["--restrict-to-path", os.path.join(folder, name)]
    if client.quota is not None:
        words += ["--storage-quota", str(client.quota)]
    own = ownkey.read(folder)
    if own is not None:
        words += ["--server-key", own.public().hex()]
    return authorized.entry(words, folder, parse_public_key(client.key), name)


def _check_key_free(policy: ServerPolicy, name: str, key: PublicKey) -> None:
    for other, client in policy.clients.items():
        if other != name and parse_public_key(client.key).blob == key.blob:
            raise CommandError(f"The key is that of the client {other}: each client needs its own.")


def _check_owner(folder: str) -> None:
    """What one user makes, the other could not use: files would belong to the wrong one."""
    try:
        owner = os.stat(folder).st_uid
    except OSError as error:
        raise CommandError(f"{folder} cannot be used: {error.strerror}.") from error
    if owner != os.geteuid():
        raise CommandError(f"{folder} belongs to another user (number {owner}): run this as that user.")


def _make_client_folder(path: str) -> None:
    try:
        if not os.path.lexists(path):
            make_folder(path, mode=0o700)
    except OSError as error:
        raise CommandError(f"{path} cannot be made: {error.strerror}.") from error
    if os.path.islink(path) or not os.path.isdir(path):
        raise CommandError(f"{path} is in the way: it is no folder.")
