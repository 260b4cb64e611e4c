import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sshd import keygen
from strongroom.errors import CommandError, VersionUnknown
from strongroom.server import ownkey, provision
from strongroom.server.authorized import key_of
from strongroom.server.policy import Restriction
from strongroom.server.provision import Change
from strongroom.server.sshkeys import parse_public_key

APPEND_ONLY = frozenset({Restriction.APPEND_ONLY})


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    folder = tmp_path_factory.mktemp("keys")

    def key(name: str) -> str:
        if not (folder / name).exists():
            keygen(folder / name)
        return (folder / f"{name}.pub").read_text()

    return key


def add(folder: Path, name: str, key: str, quota: int | None = None) -> str:
    return provision.add_client(str(folder), name, key, quota=quota, restrictions=APPEND_ONLY).line


class Server:
    def __init__(self, root: Path) -> None:
        self.folder = root / "srv"
        self.authorized_keys = root / "home/.ssh/authorized_keys"
        (root / "home").mkdir()
        self.init()

    def init(self, program: tuple[str, ...] = ("strongroom",)) -> None:
        provision.init_server(str(self.folder), authorized_keys=str(self.authorized_keys), program=program)

    def add(
        self, name: str, key: str, quota: int | None = None, rights: frozenset[Restriction] = APPEND_ONLY
    ) -> str:
        return provision.add_client(str(self.folder), name, key, quota=quota, restrictions=rights).line

    @property
    def key(self) -> str:
        return ownkey.require(str(self.folder)).public().hex()

    def lines(self) -> list[str]:
        return self.authorized_keys.read_text().splitlines()


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


Keys = Callable[[str], str]


def test_a_client_gets_a_folder_and_one_exact_line(server: Server, keys: Keys) -> None:
    line = server.add("laptop", keys("laptop"), quota=500_000_000_000)
    kind, blob, _ = keys("laptop").split()
    assert server.lines() == [line]
    assert line == (
        f'command="cd {server.folder} && exec strongroom serve --client laptop --append-only '
        f"--restrict-to-path {server.folder}/laptop --storage-quota 500000000000 "
        f'--server-key {server.key}",restrict '
        f"{kind} {blob} strongroom-laptop"
    )
    assert key_of(line.encode()) == parse_public_key(keys("laptop")).blob
    for path, mode in ((server.authorized_keys, 0o600), (server.folder / ".policy.json", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    for folder in (server.folder, server.folder / "laptop", server.authorized_keys.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_same_again_changes_nothing(server: Server, keys: Keys) -> None:
    server.add("laptop", keys("laptop"), quota=10**9)
    before = server.authorized_keys.stat(), (server.folder / ".policy.json").read_bytes()
    server.add("laptop", keys("laptop").replace("laptop\n", "another comment"), quota=10**9)
    server.init()
    assert server.authorized_keys.stat() == before[0]
    assert (server.folder / ".policy.json").read_bytes() == before[1]


OTHERS = (
    b"# my keys\n\nssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== me@home\n"
    b'from="10.0.0.0/8",command="echo \\"hi there\\"" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== \xff\xfe\n'
    b'  not a key at all "\n\n'
)


@pytest.mark.parametrize("ending", [b"", b"\n", b"no newline at the end"])
def test_other_entries_stay_byte_for_byte(server: Server, keys: Keys, ending: bytes) -> None:
    server.authorized_keys.parent.mkdir()
    server.authorized_keys.write_bytes(OTHERS + ending)
    server.add("laptop", keys("laptop"))
    server.add("desk", keys("desk"))
    provision.set_client(str(server.folder), "desk", Change(quota=10**9))
    provision.rotate_key(str(server.folder), "laptop", keys("new"))
    assert server.authorized_keys.read_bytes().startswith((OTHERS + ending).rstrip(b"\n") + b"\n")
    assert (
        len([line for line in server.authorized_keys.read_bytes().split(b"\n") if b"strongroom-" in line])
        == 2
    )
    provision.remove_client(str(server.folder), "laptop")
    provision.remove_client(str(server.folder), "desk")
    assert server.authorized_keys.read_bytes().rstrip(b"\n") == (OTHERS + ending).rstrip(b"\n")


def test_a_key_serves_one_client_only(server: Server, keys: Keys) -> None:
    server.add("laptop", keys("laptop"))
    with pytest.raises(CommandError, match="that of the client laptop"):
        server.add("desk", keys("laptop"))
    server.add("desk", keys("desk"))
    with pytest.raises(CommandError, match="that of the client laptop"):
        provision.rotate_key(str(server.folder), "desk", keys("laptop"))
    with pytest.raises(CommandError, match="rotate-key"):
        server.add("laptop", keys("new"))
    with pytest.raises(CommandError, match="use `set`"):
        server.add("laptop", keys("laptop"), quota=10**9)


def test_a_key_that_opens_something_else_already_is_refused(server: Server, keys: Keys) -> None:
    server.authorized_keys.parent.mkdir()
    before = f'# admin\nno-pty,command="echo \\" hi" {keys("laptop")}'
    server.authorized_keys.write_text(before)
    with pytest.raises(CommandError, match="line 2"):
        server.add("laptop", keys("laptop"))
    assert server.authorized_keys.read_text() == before
    assert provision.list_clients(str(server.folder)) == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "-x", "a b", "a\n", "é", "x" * 64, 'a"', "$(id)", ".policy.json"]
)
def test_names_that_could_mean_something_else_are_refused(server: Server, keys: Keys, name: str) -> None:
    with pytest.raises(CommandError):
        server.add(name, keys("laptop"))
    assert not server.authorized_keys.exists()


@pytest.mark.parametrize("folder", ['a"b', "a\\b", "a\nb", "a\tb"])
def test_a_folder_that_cannot_be_quoted_is_refused(tmp_path: Path, keys: Keys, folder: str) -> None:
    provision.init_server(
        str(tmp_path / folder), authorized_keys=str(tmp_path / "keys"), program=["strongroom"]
    )
    with pytest.raises(CommandError, match="quotes"):
        provision.add_client(
            str(tmp_path / folder), "x", keys("laptop"), quota=None, restrictions=APPEND_ONLY
        )
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("folder", ["with space", "$HOME", "a;b&c|d", "100%", "été"])
def test_the_shell_takes_the_words_as_they_are_meant(tmp_path: Path, keys: Keys, folder: str) -> None:
    root = tmp_path / folder
    echo = [sys.executable, "-c", "import os, sys; print(os.getcwd(), sys.argv[1:])"]
    provision.init_server(str(root), authorized_keys=str(tmp_path / "keys"), program=echo)
    line = add(root, "x", keys("laptop"))
    command = line[len('command="') : line.index('",restrict ')]
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    expected = ["serve", "--client", "x", "--append-only", "--restrict-to-path", f"{root}/x"]
    expected += ["--server-key", ownkey.require(str(root)).public().hex()]
    assert done.stdout.strip() == f"{root} {expected}"


def test_set_changes_what_it_names_and_nothing_else(server: Server, keys: Keys) -> None:
    server.add("laptop", keys("laptop"), quota=10**9)
    line = provision.set_client(str(server.folder), "laptop", Change(restrictions=frozenset())).line
    assert "--append-only" not in line and "--storage-quota 1000000000" in line
    line = provision.set_client(str(server.folder), "laptop", Change(quota=0)).line
    assert "--storage-quota" not in line and "--append-only" not in line
    change = Change(10**10, frozenset({Restriction.WRITE_ONLY}))
    line = provision.set_client(str(server.folder), "laptop", change).line
    assert "--write-only" in line and "--storage-quota 10000000000" in line
    assert server.lines() == [line]


def test_rotating_a_key_lets_the_new_one_in_and_the_old_one_out(server: Server, keys: Keys) -> None:
    server.add("laptop", keys("laptop"), quota=10**9)
    line = provision.rotate_key(str(server.folder), "laptop", keys("new")).line
    assert server.lines() == [line]
    assert keys("new").split()[1] in line and keys("laptop").split()[1] not in line
    assert "--storage-quota 1000000000" in line
    server.add("desk", keys("laptop"))  # the old key is free again


def test_removing_a_client_keeps_its_backups(server: Server, keys: Keys) -> None:
    server.add("laptop", keys("laptop"))
    (server.folder / "laptop/data").write_text("precious")
    place = provision.remove_client(str(server.folder), "laptop")
    assert (Path(place) / "data").read_text() == "precious"
    assert server.lines() == []
    with pytest.raises(CommandError, match="no client 'laptop'"):
        provision.remove_client(str(server.folder), "laptop")
    server.add("laptop", keys("laptop"))  # and it may come back


def test_what_a_crash_left_out_is_made_up(server: Server, keys: Keys) -> None:
    line = server.add("laptop", keys("laptop"))
    server.authorized_keys.write_text("")  # the policy was written, the line was not
    server.add("laptop", keys("laptop"))
    assert server.lines() == [line]
    (server.folder / ".policy.json").unlink()  # the line was written, the policy was not
    server.init()
    server.add("laptop", keys("laptop"))
    assert server.lines() == [line]


def test_a_moved_program_renews_every_line(server: Server, keys: Keys) -> None:
    server.add("laptop", keys("laptop"))
    server.add("desk", keys("desk"))
    server.init(program=("/opt/new/strongroom",))
    assert all("exec /opt/new/strongroom serve" in line for line in server.lines())
    assert len(server.lines()) == 2


def test_clients_added_at_once_all_get_in(server: Server, keys: Keys) -> None:
    names = [f"client{number}" for number in range(6)]
    for name in names:
        keys(name)
    threads = [threading.Thread(target=server.add, args=(name, keys(name))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [access.name for access in provision.list_clients(str(server.folder))] == names
    assert sorted(line.split()[-1] for line in server.lines()) == [f"strongroom-{name}" for name in names]


def test_a_linked_authorized_keys_stays_a_link(server: Server, keys: Keys, tmp_path: Path) -> None:
    server.authorized_keys.parent.mkdir()
    (tmp_path / "real").write_text("# real\n")
    server.authorized_keys.symlink_to(tmp_path / "real")
    server.add("laptop", keys("laptop"))
    assert server.authorized_keys.is_symlink()
    assert len((tmp_path / "real").read_text().splitlines()) == 2


def test_something_in_the_clients_place_is_refused(server: Server, keys: Keys) -> None:
    (server.folder / "file").write_text("")
    (server.folder / "link").symlink_to("/")
    for name in ("file", "link"):
        with pytest.raises(CommandError, match="in the way"):
            server.add(name, keys("laptop"))


def test_usage_counts_what_the_quota_counts(server: Server, keys: Keys) -> None:
    server.add("laptop", keys("laptop"), quota=10**9)
    server.add("desk", keys("desk"))
    for path in ("laptop/config", "laptop/packs/ab/x", "desk/one/config", "desk/two/config"):
        (server.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (server.folder / path).write_bytes(b"x")
    found = provision.usage(str(server.folder))
    assert [(one.name, one.used, one.quota, one.repositories) for one in found] == [
        ("desk", 8192, None, 2),
        ("laptop", 8192, 10**9, 1),
    ]
    assert [one.name for one in provision.usage(str(server.folder), ["laptop"])] == ["laptop"]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("{", CommandError, "damaged"),
        ('{"version": 2}', VersionUnknown, "format 2"),
        ('{"version": 1}', CommandError, "authorized_keys"),
        ('{"version":1,"authorized_keys":"/x","program":["x"],"clients":{"../x":{}}}', CommandError, "key"),
    ],
)
def test_a_damaged_policy_is_named_and_kept(
    server: Server, keys: Keys, text: str, kind: type[Exception], words: str
) -> None:
    (server.folder / ".policy.json").write_text(text)
    for use in (lambda: server.add("laptop", keys("laptop")), server.init):
        with pytest.raises(kind, match=words):
            use()
    assert (server.folder / ".policy.json").read_text() == text


def test_a_folder_that_is_no_servers_says_so(tmp_path: Path, keys: Keys) -> None:
    with pytest.raises(CommandError, match="server init"):
        add(tmp_path, "laptop", keys("laptop"))
    with pytest.raises(CommandError):
        provision.list_clients(str(tmp_path / "nowhere"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a folder of somebody else's")
def test_another_users_folder_is_left_to_that_user(server: Server, keys: Keys) -> None:
    os.chown(server.folder, 65534, 65534)
    with pytest.raises(CommandError, match="as that user"):
        server.add("laptop", keys("laptop"))
