"""The log: who may sign what, in which order; nothing that breaks a rule changes the state."""

import copy
import itertools
from collections.abc import Callable, ItemsView

import msgspec
import pytest
from blake3 import blake3

from founded import Founded, archive_body
from strongroom.crypto import keys
from strongroom.crypto.keyformat import Role
from strongroom.crypto.keys import KeySecrets
from strongroom.errors import LogBroken, RoleInsufficient, StrongroomError, VersionUnknown
from strongroom.ids import KeyId, NameTag, RepositoryId
from strongroom.repository import log, records
from strongroom.repository.known import Entry
from strongroom.repository.log import (
    ArchiveBody,
    ArchivesBody,
    Body,
    FreeingBody,
    InitBody,
    KeyAddBody,
    KeyRevokeBody,
    Kind,
    LogState,
)


class Log:
    """A log in memory, with one key of each role."""

    def __init__(self) -> None:
        self.founded = Founded()
        self.state = self.founded.state
        self.admin = self.founded.admin
        self._times = itertools.count(1)
        self.add("init", InitBody("admin", self.admin.public()))
        self.backup, self.restore, self.server = (self.key(role) for role in ("backup", "restore", "server"))

    def key(self, role: Role) -> KeySecrets:
        # of a server's key only name and signature count
        secrets = self.founded._secrets(keys.new_signing_key(), role)
        self.add("key-add", KeyAddBody(role, role, secrets.public()))
        return secrets

    def sign(self, kind: Kind, body: Body, secrets: KeySecrets | None = None) -> bytes:
        return log.sign(self.state, kind, body, secrets or self.admin, next(self._times))

    def add(self, kind: Kind, body: Body, secrets: KeySecrets | None = None) -> log.Record:
        return self.state.apply(self.sign(kind, body, secrets))

    def refuses(self, blob: bytes, why: str | None = None) -> None:
        before = copy.deepcopy(self.state)
        with pytest.raises(LogBroken, match=why):
            self.state.apply(blob)
        assert self.state == before, "a refused record changed the state"


@pytest.fixture
def log_() -> Log:
    return Log()


def archive(name: bytes) -> ArchiveBody:
    return archive_body(name)


def test_a_life_of_an_archive(log_: Log) -> None:
    one = archive(b"one")
    log_.add("archive", one, log_.backup)
    assert log_.state.by_tag(NameTag(one.name_tag)) is log_.state.living()[0]
    log_.add("delete", ArchivesBody([one.archive]))
    assert log_.state.living() == [] and log_.state.by_tag(NameTag(one.name_tag)) is None
    log_.add("undelete", ArchivesBody([one.archive]))
    renamed = msgspec.structs.replace(archive(b"two"), replaces=one.archive)
    log_.add("rename", renamed)
    assert [found.id for found in log_.state.living()] == [renamed.archive]
    assert log_.state.by_tag(NameTag(one.name_tag)) is None
    log_.add("archive", msgspec.structs.replace(archive(b"new"), name_tag=one.name_tag))
    assert len(log_.state.living()) == 2


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("key-add", {"admin"}),
        ("key-revoke", {"admin"}),
        ("archive", {"admin", "backup"}),
        ("rename", {"admin"}),
        ("recompress", {"admin"}),
        ("delete", {"admin", "backup", "server"}),
        ("undelete", {"admin", "backup"}),
        ("compact", {"admin", "server"}),
        ("repair", {"admin"}),
    ],
)
def test_roles_sign_what_they_may_and_nothing_else(kind: Kind, allowed: set[str], log_: Log) -> None:
    one = archive(b"one")
    log_.add("archive", one)
    if kind == "undelete":
        log_.add("delete", ArchivesBody([one.archive]), log_.backup)
    bodies: dict[str, Callable[[], Body]] = {
        "key-add": lambda: KeyAddBody("x", "admin", keys.public_of(keys.new_signing_key())),
        "key-revoke": lambda: KeyRevokeBody(log_.restore.key_id(), None),
        "archive": lambda: archive(b"other"),
        "rename": lambda: msgspec.structs.replace(archive(b"other"), replaces=one.archive),
        "recompress": lambda: archive(b"other"),
        "delete": lambda: ArchivesBody([one.archive]),
        "undelete": lambda: ArchivesBody([one.archive]),
        "compact": FreeingBody,
        "repair": FreeingBody,
    }
    for secrets in (log_.admin, log_.backup, log_.restore, log_.server):
        blob = log_.sign(kind, bodies[kind](), secrets)
        if secrets.role in allowed:
            log_.state.check_may_sign(kind, secrets.key_id())
            copy.deepcopy(log_.state).apply(blob)
        else:
            with pytest.raises(RoleInsufficient, match=f"{secrets.role} key"):
                log_.state.check_may_sign(kind, secrets.key_id())
            log_.refuses(blob, f"signed by a {secrets.role} key")


def test_a_revoked_key_signs_nothing_more(log_: Log) -> None:
    log_.add("archive", archive(b"one"), log_.backup)
    log_.add("key-revoke", KeyRevokeBody(log_.backup.key_id(), 5))
    log_.refuses(log_.sign("archive", archive(b"two"), log_.backup), "revoked")
    for key in (log_.backup.key_id(), KeyId(bytes(16))):
        with pytest.raises(RoleInsufficient, match="revoked, or never"):
            log_.state.check_may_sign("archive", key)
    log_.refuses(log_.sign("key-revoke", KeyRevokeBody(log_.backup.key_id(), None)), "not there")
    known = log_.state.keys[log_.backup.key_id()]
    assert known.distrusted_since == 5 and known.revoked is not None


def test_an_archive_cannot_take_the_name_of_a_living_one(log_: Log) -> None:
    """It would hide the other: whoever asks for the name would get the newer."""
    one = archive(b"one")
    log_.add("archive", one)
    twin = msgspec.structs.replace(archive(b"twin"), name_tag=one.name_tag)
    log_.refuses(log_.sign("archive", twin, log_.backup), "taken")
    log_.add("archive", archive(b"two"))
    log_.refuses(
        log_.sign("rename", msgspec.structs.replace(twin, replaces=archive(b"two").archive)), "taken"
    )
    log_.add("delete", ArchivesBody([one.archive]))
    log_.add("archive", twin, log_.backup)
    log_.refuses(log_.sign("undelete", ArchivesBody([one.archive])), "taken")
    log_.add("delete", ArchivesBody([twin.archive]))
    log_.refuses(log_.sign("undelete", ArchivesBody([one.archive, twin.archive])), "taken")
    log_.add("undelete", ArchivesBody([one.archive]))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("archive", {"archive": bytes(31)}),
        ("archive", {"name_tag": b""}),
        ("archive", {"packs": bytes(33)}),
        ("archive", {"indexes": bytes(1)}),
        ("archive", {"new_bytes": -1}),
        ("archive", {"chunks": -1}),
        ("archive", {"replaces": bytes(32)}),
        ("recompress", {"replaces": bytes(32)}),
        ("rename", {"replaces": None}),
        ("rename", {"replaces": bytes(32)}),
    ],
)
def test_impossible_archives_are_refused(kind: Kind, changes: dict[str, object], log_: Log) -> None:
    log_.refuses(log_.sign(kind, msgspec.structs.replace(archive(b"one"), **changes)))


def test_an_archive_comes_but_once(log_: Log) -> None:
    log_.add("archive", archive(b"one"))
    again = msgspec.structs.replace(archive(b"one"), name_tag=bytes(32))
    log_.refuses(log_.sign("archive", again), "cannot be committed")


@pytest.mark.parametrize("kind", ["delete", "undelete"])
def test_only_what_is_there_is_marked_and_once(kind: Kind, log_: Log) -> None:
    one = archive(b"one").archive
    log_.add("archive", archive(b"one"))
    if kind == "undelete":
        log_.add("delete", ArchivesBody([one]))
    for wrong in ([], [bytes(32)], [one, bytes(32)], [one, one]):
        log_.refuses(log_.sign(kind, ArchivesBody(wrong)), "not there")
    log_.add(kind, ArchivesBody([one]))
    log_.refuses(log_.sign(kind, ArchivesBody([one])), "not there")


def test_keys_are_added_once_and_are_whole(log_: Log) -> None:
    for body in (
        KeyAddBody("again", "backup", log_.backup.public()),
        KeyAddBody("short", "backup", bytes(31)),
        KeyAddBody("", "backup", bytes(32)),
        KeyAddBody("x" * 300, "backup", bytes(32)),
    ):
        log_.refuses(log_.sign("key-add", body), "cannot be added")
    for since in (-1, 1 << 63):
        log_.refuses(log_.sign("key-revoke", KeyRevokeBody(log_.backup.key_id(), since)), "time")


def test_the_founder_is_the_one_that_the_config_names() -> None:
    founded = Founded()
    other = founded._secrets(keys.new_signing_key(), "admin")
    for body, secrets in (
        (InitBody("admin", other.public()), other),
        (InitBody("admin", founded.admin.public()), other),
    ):
        with pytest.raises(LogBroken):
            founded.state.apply(log.sign(founded.state, "init", body, secrets, 1))
    with pytest.raises(LogBroken, match="cannot stand there"):
        founded.state.apply(log.sign(founded.state, "archive", archive(b"x"), founded.admin, 1))


def test_a_second_beginning_is_refused(log_: Log) -> None:
    log_.refuses(log_.sign("init", InitBody("admin", log_.admin.public())), "cannot stand there")


def test_records_follow_one_another_in_one_repository(log_: Log) -> None:
    first, second = log_.sign("archive", archive(b"1")), log_.sign("archive", archive(b"2"))
    log_.state.apply(first)
    log_.refuses(first, "does not follow")
    log_.refuses(second, "does not follow")
    foreign = copy.deepcopy(log_.state)
    foreign.repository = RepositoryId(bytes(32))
    log_.refuses(log.sign(foreign, "archive", archive(b"3"), log_.admin, 1), "another repository")
    for time in (-1, 1 << 63):
        log_.refuses(log.sign(log_.state, "archive", archive(b"3"), log_.admin, time), "time")


def test_every_changed_byte_of_a_record_is_noticed(log_: Log) -> None:
    blob = log_.sign("archive", archive(b"one"), log_.backup)
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises((LogBroken, VersionUnknown)):
            log_.state.apply(bytes(changed))
    log_.state.apply(blob)


def test_another_spelling_of_a_record_is_refused(log_: Log) -> None:
    """Its hash would be another one, its signature the same."""
    blob = log_.sign("archive", archive(b"one"))
    _, payload, signature = msgspec.msgpack.decode(blob)
    start = b"\x93\x01" + msgspec.msgpack.encode(payload)
    assert start + b"\xc4\x40" + signature == blob
    log_.refuses(start + b"\xc5\x00\x40" + signature, "canonical")
    log_.refuses(b"\xdc\x00\x03" + blob[1:], "canonical")


def test_future_versions_and_kinds_are_told(log_: Log) -> None:
    blob = log_.sign("archive", archive(b"one"))
    with pytest.raises(VersionUnknown, match="format 2"):
        log_.state.apply(blob[:1] + b"\x02" + blob[2:])
    with pytest.raises(VersionUnknown, match="unknown kind"):
        log_.state.apply(log_.sign("explode", archive(b"one")))  # type: ignore[arg-type]


def test_two_readers_come_to_the_same_state(log_: Log) -> None:
    blobs = [log_.sign("archive", archive(b"one"))]
    other = LogState(log_.state.repository, log_.state.admin_public)
    with pytest.raises(LogBroken):
        other.apply(blobs[0])
    assert other == LogState(log_.state.repository, log_.state.admin_public)


# --- requests ---


def test_a_backup_keys_deletion_is_a_request(log_: Log) -> None:
    one = archive(b"one")
    log_.add("archive", one, log_.backup)
    log_.add("delete", ArchivesBody([one.archive]), log_.backup)
    (found,) = log_.state.living()
    assert found.requested is not None and found.requested.key_id == log_.backup.key_id()
    assert log_.state.by_tag(NameTag(one.name_tag)) is found and log_.state.dead() == []
    log_.refuses(log_.sign("delete", ArchivesBody([one.archive]), log_.backup), "not there")
    log_.refuses(log_.sign("compact", FreeingBody(archives=one.archive)), "cannot be freed")
    log_.refuses(log_.sign("archive", msgspec.structs.replace(archive(b"2"), name_tag=one.name_tag)), "taken")
    log_.add("undelete", ArchivesBody([one.archive]), log_.backup)
    assert log_.state.requested() == []


def test_a_backup_key_takes_back_requests_and_nothing_else(log_: Log) -> None:
    one = archive(b"one")
    log_.add("archive", one)
    log_.refuses(log_.sign("undelete", ArchivesBody([one.archive]), log_.backup), "not there")
    log_.add("delete", ArchivesBody([one.archive]), log_.backup)
    log_.add("delete", ArchivesBody([one.archive]))  # the administrator accepts
    log_.refuses(log_.sign("undelete", ArchivesBody([one.archive]), log_.backup), "not there")
    log_.add("undelete", ArchivesBody([one.archive]))
    assert len(log_.state.living()) == 1 and log_.state.requested() == []


@pytest.mark.parametrize("role", ["admin", "server"])
def test_a_deletion_by_admin_or_server_is_one(role: Role, log_: Log) -> None:
    one = archive(b"one")
    log_.add("archive", one, log_.backup)
    log_.add("delete", ArchivesBody([one.archive]), log_.admin if role == "admin" else log_.server)
    assert [found.id for found in log_.state.dead()] == [one.archive]


# --- freeing ---


def with_pack(name: bytes) -> ArchiveBody:
    return msgspec.structs.replace(
        archive(name),
        packs=blake3(b"pack" + name).digest(),
        indexes=blake3(b"i" + name).digest(),
        new_bytes=9,
    )


def test_what_is_freed_is_gone_for_good(log_: Log) -> None:
    one, two = with_pack(b"one"), with_pack(b"two")
    log_.add("archive", one)
    log_.add("archive", two)
    log_.add("delete", ArchivesBody([one.archive]))
    new = blake3(b"new").digest()
    body = FreeingBody(
        one.archive, one.packs, one.indexes, bytes(32), new, new, new_bytes=5, freed_bytes=9, sources=[[5]]
    )
    log_.add("compact", body, log_.server)
    state = log_.state
    assert one.archive not in state.archives and one.archive in state.freed_archives
    assert state.packs == {two.packs: (6,), new: (5,)} and state.freed_packs == {one.packs}
    assert list(state.indexes) == [two.indexes, new] and state.freed_indexes == {one.indexes}
    assert state.stored == 14 and [record.body for record in state.freeings] == [body]
    for kind, again in (
        ("undelete", ArchivesBody([one.archive])),
        ("archive", one),
        ("archive", msgspec.structs.replace(archive(b"three"), packs=one.packs)),
        ("archive", msgspec.structs.replace(archive(b"three"), indexes=one.indexes)),
        ("compact", FreeingBody(archives=one.archive)),
        ("compact", FreeingBody(packs=one.packs)),
        ("compact", FreeingBody(indexes=one.indexes)),
        ("compact", FreeingBody(new_packs=one.packs, sources=[[1]])),
        ("compact", FreeingBody(new_indexes=one.indexes)),
    ):
        log_.refuses(log_.sign(kind, again))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"archives": bytes(32)},
        {"archives": bytes(5)},
        {"packs": bytes(64)},
        {"packs": bytes(33)},
        {"indexes": bytes(64)},
        {"refs": bytes(31)},
        {"strays": bytes(31)},
        {"new_packs": bytes(32)},
        {"new_packs": bytes(32), "sources": [[]]},
        {"new_packs": bytes(32), "sources": [[0]]},
        {"new_packs": bytes(32), "sources": [[99]]},
        {"sources": [[1]]},
        {"new_bytes": -1},
        {"freed_bytes": -1},
    ],
)
def test_an_impossible_compact_is_refused(changes: dict[str, object], log_: Log) -> None:
    log_.add("archive", archive(b"living"))
    log_.refuses(log_.sign("compact", msgspec.structs.replace(FreeingBody(), **changes)))


def test_a_living_archive_is_not_freed(log_: Log) -> None:
    one = archive(b"one")
    log_.add("archive", one)
    for kind in ("compact", "repair"):
        log_.refuses(log_.sign(kind, FreeingBody(archives=one.archive)), "cannot be freed")  # type: ignore[arg-type]


# --- stamps, and what is not trusted ---

DAY = 24 * 3600 * 10**9


@pytest.mark.parametrize(
    ("stamps", "signed", "counts_from"),
    [
        ((10, 11), 0, 11),  # the signer's clock says nothing
        ((10, 11), 500, 11),
        ((10, 3), 0, 10),  # the store's clock was set back: not before what came before
        ((10, 3), 12, 12),
        ((900, 11), 0, 11),  # one stamp of the future does not hold back all that follow
        ((10, 900), 0, 900),
        ((10, None), 0, 100),  # unknown: as if it were now
    ],
)
def test_a_quarantine_counts_from_the_stores_stamp(
    stamps: tuple[int, int | None], signed: int, counts_from: int, log_: Log
) -> None:
    one = archive(b"one")
    log_.state.apply(log_.sign("archive", one), stamp=stamps[0] * DAY)
    blob = log.sign(log_.state, "delete", ArchivesBody([one.archive]), log_.admin, signed * DAY)
    log_.state.apply(blob, stamp=None if stamps[1] is None else stamps[1] * DAY)
    (dead,) = log_.state.dead()
    assert dead.deleted is not None
    assert log_.state.dead_since(dead.deleted, now=100 * DAY) == counts_from * DAY


def test_the_quarantines_of_many_archives_take_one_look_at_the_log(log_: Log) -> None:
    class Counted(dict[int, Entry]):
        looks = 0

        def items(self) -> ItemsView[int, Entry]:
            self.looks += 1
            return super().items()

    bodies = [archive(b"%d" % number) for number in range(30)]
    for stamp, body in enumerate(bodies, start=1):
        log_.state.apply(log_.sign("archive", body), stamp=stamp)
    for stamp, body in enumerate(bodies, start=100):
        log_.state.apply(log_.sign("delete", ArchivesBody([body.archive])), stamp=stamp)
    log_.state.entries = counted = Counted(log_.state.entries)
    tombstones = [one.deleted for one in log_.state.dead() if one.deleted is not None]
    since = [log_.state.dead_since(one, now=1000) for one in tombstones]
    assert since == list(range(100, 130)) and counted.looks == 1
    assert log_.state.dead_since(tombstones[-1], now=90) == 129 and counted.looks == 2


def test_what_a_revoked_key_wrote_since_is_distrusted_wherever_it_was_moved(log_: Log) -> None:
    bodies = {name: with_pack(name) for name in (b"before", b"after", b"others")}
    for stamp, (name, body) in enumerate(bodies.items(), start=10):
        signer = log_.admin if name == b"others" else log_.backup
        log_.state.apply(log_.sign("archive", body, signer), stamp=stamp)
    new = [blake3(word).digest() for word in (b"mixed", b"clean")]
    moved = b"".join(body.packs for body in bodies.values())
    log_.add("compact", FreeingBody(packs=moved, new_packs=b"".join(new), sources=[[5, 6], [5, 7]]))
    assert log_.state.distrusted_packs() == set() and log_.state.distrusted_archives() == []
    log_.add("key-revoke", KeyRevokeBody(log_.backup.key_id(), 11))
    assert log_.state.distrusted_packs() == {new[0]}
    assert [one.id for one in log_.state.distrusted_archives()] == [bodies[b"after"].archive]


# --- recreate ---


def test_a_recreated_archive_takes_name_and_place_and_the_old_one_can_come_back(log_: Log) -> None:
    old, new = archive_body(b"old"), archive_body(b"new")
    log_.add("archive", old)
    again = msgspec.structs.replace(new, name_tag=old.name_tag, replaces=old.archive)
    log_.add("recreate", again)
    (living,) = log_.state.living()
    assert living.id == new.archive and log_.state.by_tag(NameTag(old.name_tag)) is living
    assert [one.id for one in log_.state.dead()] == [old.archive]
    log_.refuses(log_.sign("undelete", ArchivesBody([old.archive])), "name is taken")
    log_.add("delete", ArchivesBody([new.archive]))
    log_.add("undelete", ArchivesBody([old.archive]))
    assert [one.id for one in log_.state.living()] == [old.archive]


def test_a_recreated_archive_may_have_a_name_of_its_own_but_nobody_elses(log_: Log) -> None:
    old, other, new = archive_body(b"old"), archive_body(b"other"), archive_body(b"new")
    log_.add("archive", old)
    log_.add("archive", other)
    stolen = msgspec.structs.replace(new, name_tag=other.name_tag, replaces=old.archive)
    log_.refuses(log_.sign("recreate", stolen), "name that is taken")
    log_.refuses(
        log_.sign("rename", msgspec.structs.replace(new, name_tag=old.name_tag, replaces=old.archive))
    )
    log_.refuses(log_.sign("recreate", new), "wrong form")
    log_.refuses(log_.sign("archive", msgspec.structs.replace(new, replaces=old.archive)), "wrong form")
    fine = msgspec.structs.replace(new, replaces=old.archive)
    log_.refuses(log_.sign("recreate", fine, log_.backup), "backup key")
    log_.add("recreate", fine)
    missing = msgspec.structs.replace(archive_body(b"third"), replaces=old.archive)
    log_.refuses(log_.sign("recreate", missing), "not there")


def test_a_record_that_nobody_could_read_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be the end of the log: whoever comes later reads no further."""
    founded = Founded()
    monkeypatch.setattr(records, "MAX_RECORD", 400)
    body = archive_body(b"1", bytes(32 * 20))
    with pytest.raises(StrongroomError, match="more than the log takes"):
        records.encode(founded.repository, records.Head(), "archive", body, founded.admin, 1)
