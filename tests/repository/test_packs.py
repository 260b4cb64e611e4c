"""Packs and index objects: tables that fit the bytes, whatever the tail that was read."""

import os
import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from strongroom.crypto import hashing
from strongroom.crypto.sealing import DATA, OVERHEAD, TREE, SealedSession, SessionReader, SessionWriter
from strongroom.errors import Damaged, PackDamaged, VersionUnknown
from strongroom.ids import IndexId, PackId, RepositoryId
from strongroom.repository import packs
from strongroom.repository.packs import BundleEntry, IndexedPack, Trailer
from strongroom.repository.writing import PackBuffer, PackFiller, finish_pack
from strongroom.store.direct import BLOCK
from strongroom.store.local import LocalStore

REPOSITORY = RepositoryId(bytes(32))
SESSION = SealedSession(bytes(16), 1, b"sealed")
ENTRY = BundleEntry(8, 100, DATA, 0, bytes(64))


def pack_of(trailer: Trailer, gap: int = 0) -> bytes:
    body = bytes(sum(bundle.length for bundle in trailer.bundles) + gap)
    return packs.HEADER + body + packs.encode_trailer(trailer)


def decoded(blob: bytes) -> Trailer:
    found = packs.decode_trailer(blob, PackId(hashing.plain_hash(blob)), len(blob))
    assert isinstance(found, Trailer)
    return found


def replaced(**changes: Any) -> BundleEntry:
    return msgspec.structs.replace(ENTRY, **changes)


def test_a_pack_tells_what_it_holds() -> None:
    trailer = Trailer([SESSION], [ENTRY, BundleEntry(108, 25, TREE, 0, bytes(32))])
    assert decoded(pack_of(trailer)) == trailer


@pytest.mark.parametrize(
    "trailer",
    [
        Trailer([], [ENTRY]),
        Trailer([SESSION], []),
        Trailer([SESSION] * 1001, [ENTRY]),
        Trailer([SESSION], [replaced(offset=9)]),
        Trailer([SESSION], [replaced(offset=-8)]),
        Trailer([SESSION], [replaced(length=OVERHEAD)]),
        Trailer([SESSION], [replaced(kind=2)]),
        Trailer([SESSION], [replaced(session=1)]),
        Trailer([SESSION], [replaced(session=-1)]),
        Trailer([SESSION], [replaced(chunks=b"")]),
        Trailer([SESSION], [replaced(chunks=bytes(33))]),
        Trailer([SESSION], [replaced(chunks=bytes(32 * 8193))]),
        Trailer([SESSION], [ENTRY, ENTRY]),
        Trailer([msgspec.structs.replace(SESSION, sealed=b"")], [ENTRY]),
    ],
)
def test_impossible_tables_are_refused(trailer: Trailer) -> None:
    with pytest.raises(PackDamaged):
        decoded(pack_of(trailer))


def test_a_table_that_does_not_fill_the_pack_is_refused() -> None:
    with pytest.raises(PackDamaged, match="no bundle"):
        decoded(pack_of(Trailer([SESSION], [ENTRY]), gap=1))
    with pytest.raises(PackDamaged):
        decoded(pack_of(Trailer([SESSION], [replaced(length=101)]), gap=-1))


def test_every_changed_byte_of_the_end_is_noticed() -> None:
    blob = pack_of(Trailer([SESSION], [ENTRY]))
    for at in range(108, len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(PackDamaged):
            result = packs.decode_trailer(bytes(changed), PackId(bytes(32)), len(blob))
            if isinstance(result, int):  # a length that asks for more than there is of it
                raise PackDamaged
    for cut in range(1, 60):
        with pytest.raises(PackDamaged):
            decoded(blob[:-cut])


def test_a_future_version_is_told() -> None:
    body = msgspec.msgpack.encode([2, "anything"])
    end = len(body).to_bytes(4, "little") + hashing.plain_hash(body)[:16] + packs.FOOTER_MAGIC
    with pytest.raises(VersionUnknown, match="format 2"):
        decoded(packs.HEADER + body + end)
    blob = msgspec.msgpack.encode([2, "anything"])
    with pytest.raises(VersionUnknown, match="format 2"):
        packs.decode_index(blob, IndexId(hashing.plain_hash(blob)))


def test_a_trailer_larger_than_the_first_guess_takes_a_second_request(tmp_path: Path) -> None:
    store = LocalStore.create(str(tmp_path / "store"))
    chunks = os.urandom(32 * 8192)
    trailer = Trailer(
        [SESSION], [BundleEntry(8, 100, DATA, 0, chunks), BundleEntry(108, 50, DATA, 0, chunks)]
    )
    blob = pack_of(trailer)
    pack = PackId(hashing.plain_hash(blob))
    store.put(packs.name(pack), [blob])
    assert packs.read_trailer(store, pack, len(blob)) == trailer
    with pytest.raises(PackDamaged):
        packs.read_trailer(store, pack, len(blob) + 5)


def test_an_index_is_what_its_name_says() -> None:
    table = IndexedPack(bytes(32), 1000, [ENTRY])
    index, blob = packs.encode_index([table, table])
    assert packs.decode_index(blob, index) == [table, table]
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(Damaged):
            packs.decode_index(bytes(changed), index)


@pytest.mark.parametrize(
    "table",
    [
        IndexedPack(bytes(31), 1000, [ENTRY]),
        IndexedPack(bytes(32), 0, [ENTRY]),
        IndexedPack(bytes(32), packs.MAX_PACK + 1, [ENTRY]),
        IndexedPack(bytes(32), 107 + packs.FOOTER_SIZE, [ENTRY]),
        IndexedPack(bytes(32), 1000, []),
        IndexedPack(bytes(32), 1000, [replaced(kind=7)]),
    ],
)
def test_an_index_with_impossible_packs_is_refused(table: IndexedPack) -> None:
    index, blob = packs.encode_index([table])
    with pytest.raises(Damaged):
        packs.decode_index(blob, index)


@pytest.mark.parametrize(
    ("target", "part", "parts"), [(4096, 4096, 2), (40_000, 4096, 2), (40_000, 9000, 4), (40_000, 512, 3)]
)
def test_packs_filled_by_many_threads_hold_every_bundle_once(target: int, part: int, parts: int) -> None:
    """Whole packs, and packs that are stored part after part; the last parts are smaller than a bundle."""
    called: queue.Queue[PackBuffer | None] = queue.Queue()
    filler = PackFiller(lambda: SessionWriter(REPOSITORY, None), target, part, parts, called.put)
    finished: list[tuple[bytes, Trailer]] = []
    bodies: dict[int, list[bytes]] = {}

    def add(number: int) -> None:
        plain = number.to_bytes(4, "little") * (1 + number % 300)
        ids = number.to_bytes(32, "little")
        filler.add(DATA, ids, memoryview(plain))

    def store() -> None:
        while (pack := called.get()) is not None:
            pieces = bodies.setdefault(id(pack), [])
            while (taken := filler.take(pack)) is not None:
                pieces.append(taken.buffer[taken.carried : taken.used])
                assert (sum(map(len, pieces)) - taken.used) % BLOCK == 0
                filler.release(taken)
            if not pack.over:
                continue
            body = b"".join(bodies.pop(id(pack)))
            table, trailer = finish_pack(pack, blake3(body))
            assert hashing.plain_hash(body, trailer) == table.pack and len(body + trailer) == table.size
            finished.append((body + trailer, decoded(body + trailer)))

    with ThreadPoolExecutor(5) as pool:
        storing = pool.submit(store)
        list(pool.map(add, range(400)))
        filler.finish()
        called.put(None)
        storing.result()
    assert not bodies
    full = [len(blob) for blob, _ in finished[:-1]]
    assert min(full) > target - 1300  # none was cut short for want of a buffer
    reader = SessionReader(REPOSITORY, None, True)
    found = {}
    for blob, trailer in finished:
        for bundle in trailer.bundles:
            stored = memoryview(blob)[bundle.offset : bundle.offset + bundle.length]
            plain = bytes(reader.decrypt(trailer.sessions[bundle.session], DATA, stored))
            number = int.from_bytes(bundle.chunks, "little")
            assert number not in found
            found[number] = plain
    assert found == {n: n.to_bytes(4, "little") * (1 + n % 300) for n in range(400)}


def test_packs_of_tiny_chunks_end_before_their_tables_are_too_large_to_be_read() -> None:
    """Of files of a few bytes millions fit into 32 MiB: such a pack was written, and never read again."""
    called: list[PackBuffer] = []
    filler = PackFiller(lambda: SessionWriter(REPOSITORY, None), 32 << 20, BLOCK, 1 << 10, called.append)
    ids = bytes(32) * packs.MAX_CHUNKS
    number = packs.MAX_TRAILER // len(ids) + 1
    for _ in range(number):
        filler.add(DATA, ids, memoryview(b"tiny files"))
    filler.finish()
    assert sum(len(pack.bundles) for pack in called) == number
    for pack in called:
        body = b"".join(part.buffer[part.carried : part.used] for part in pack.parts)
        _, trailer = finish_pack(pack, blake3(body))
        assert sum(len(one.chunks) for one in decoded(body + trailer).bundles) <= packs.MOST_IDS
