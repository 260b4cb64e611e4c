"""What a client may leave in its folder, or the disk make of it, costs the server's owner a sentence."""

import os
import resource
from collections.abc import Callable

import pytest

from founded import Founded, archive_body, archive_name, founded_at, pack_name
from program import Program
from server.hosted import Hosted, hosted
from strongroom.repository.log import ArchiveBody, KeyAddBody
from strongroom.server import ownkey
from strongroom.store.local import LocalStore

JUNK = b"rubbish" * 1000

Spoil = Callable[[Founded, LocalStore], None]


def archive(founded: Founded, store: LocalStore) -> None:
    """A fallen backup key commits what it likes: only its presence is checked."""
    store.put(archive_name(JUNK), [JUNK])
    founded.append(store, "archive", archive_body(JUNK))


def index(founded: Founded, store: LocalStore) -> None:
    body = archive_body(JUNK, packs=bytes.fromhex(pack_name(JUNK).rpartition("/")[2]))
    store.put(archive_name(JUNK), [JUNK])
    store.put(pack_name(JUNK), [JUNK])
    store.put(f"index/{body.packs.hex()}", [JUNK])
    joined = body.packs
    founded.append(
        store, "archive", ArchiveBody(body.archive, body.name_tag, joined, joined, 2**62, 2**62, 2**62)
    )


def record(founded: Founded, store: LocalStore) -> None:
    store.put(f"log/{founded.state.head.seq + 1:020}", [JUNK])


def no_config(founded: Founded, store: LocalStore) -> None:
    store.delete("config")
    os.mkdir(f"{store.path}/config")


def other_config(founded: Founded, store: LocalStore) -> None:
    store.delete("config")
    store.put("config", [JUNK])


def pipes(founded: Founded, store: LocalStore) -> None:
    os.makedirs(f"{store.path}/packs/00")
    os.mkfifo(f"{store.path}/packs/00/{'0' * 64}")
    os.mkfifo(f"{store.path}/keys")


def huge(founded: Founded, store: LocalStore) -> None:
    for area, name in (("index", "0" * 64), ("keys", "1" * 64), ("archives", "2" * 64)):
        os.makedirs(f"{store.path}/{area}", exist_ok=True)
        with open(f"{store.path}/{area}/{name}", "wb") as stream:
            stream.truncate(1 << 40)


@pytest.fixture
def server(program: Program) -> Hosted:
    made = hosted(program)
    made.add("laptop")
    return made


@pytest.mark.parametrize(
    "spoil",
    [archive, index, record, no_config, other_config, pipes, huge],
    ids=lambda one: one.__name__,
)
def test_it_costs_the_owner_a_sentence_and_bounded_memory(server: Hosted, spoil: Spoil) -> None:
    path = server.folder / "laptop/repo"
    founded = founded_at(path)
    store = LocalStore(str(path))
    public = ownkey.require(str(server.folder)).public()
    founded.append(store, "key-add", KeyAddBody("server", "server", public))
    spoil(founded, store)

    def frugal() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 29, 1 << 29))

    for words in (
        ("verify",),
        ("prune", "--all", "--keep-daily", "1"),
        ("compact", "--all", "--quarantine", "0"),
    ):
        done = server(*words, before=frugal)
        assert done.code in (0, 1, 2), (words, done)
        if words == ("verify",):
            assert (done.code, "repo" in done.err) == ((0, False) if spoil is pipes else (1, True)), done
        assert "Traceback" not in done.err and "Internal error" not in done.err, (words, done)
        assert len(done.err) < 4000


def test_a_folder_deeper_than_any_path_is_told(server: Hosted) -> None:
    here = os.open(server.folder / "laptop", os.O_RDONLY)
    name = "d" * 200
    for _ in range(30):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    done = server("verify")
    assert done.code == 2 and "cannot be searched" in done.sentence()
