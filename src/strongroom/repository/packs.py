"""Packs: many bundles, then a trailer that tells what they hold.

Specified in docs/format.md, "Packs". The same bundle tables, without the sealed session
keys, make up the index objects, so that readers need not visit every pack.
"""

from collections.abc import Collection, Iterable, Iterator

import msgspec

from strongroom.crypto import hashing
from strongroom.crypto.sealing import DATA, OVERHEAD, TREE, SealedSession
from strongroom.errors import (
    Damaged,
    ObjectMissing,
    PackDamaged,
    StoreFailed,
    StoreRefused,
    VersionUnknown,
)
from strongroom.ids import ID_SIZE, IndexId, PackId, last_part
from strongroom.malformed import MALFORMED
from strongroom.store.protocol import Buffer, Store

VERSION = 1
HEADER = b"SRPACK\x00\x01"
FOOTER_MAGIC = b"SRPKEND\x01"
FOOTER_SIZE = 4 + 16 + len(FOOTER_MAGIC)  # trailer length, checksum, magic

MAX_BUNDLES = 65_000  # a pack
MAX_CHUNKS = 8_192  # a bundle
MOST_IDS = 1024 * 1024
"""Bytes of chunk ids, from which on a writer ends a pack: of files of a few bytes millions fit into one, and
its trailer, which is in memory before it is written, would grow beyond what is read."""
MAX_SESSIONS = 1_000
MAX_PACK = 1 << 30
MAX_TRAILER = 64 * 1024 * 1024
MAX_INDEX = 256 * 1024 * 1024
INDEX_TARGET = 200_000  # chunks an index object

_GUESS = 256 * 1024  # bytes read from a pack's end: enough for most trailers in one request


class BundleEntry(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """Where a bundle lies in its pack and which chunks it holds, in order."""

    offset: int
    length: int  # bytes as stored, counter and tag included
    kind: int  # DATA or TREE
    session: int  # position in the pack's sessions table
    chunks: bytes  # chunk ids, concatenated


class Trailer(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    sessions: list[SealedSession]
    bundles: list[BundleEntry]


class IndexedPack(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One pack's table in an index object."""

    pack: bytes
    size: int
    bundles: list[BundleEntry]


# made here, before there are threads: msgspec looks into a type when it first meets it, and a second thread
# that comes meanwhile finds half of that, and crashes
_trailer = msgspec.msgpack.Decoder(Trailer)
_tables = msgspec.msgpack.Decoder(list[IndexedPack])


def name(pack: PackId) -> str:
    text = pack.hex()
    return f"packs/{text[:2]}/{text}"


def id_of(stored: str) -> PackId | None:
    """The pack of that name; None for a name that no pack has."""
    pack = PackId(last_part(stored))
    return pack if pack and name(pack) == stored else None


def index_name(index: IndexId) -> str:
    return f"index/{index.hex()}"


def encode_trailer(trailer: Trailer) -> bytes:
    """Trailer and footer: what follows the last bundle."""
    body = msgspec.msgpack.encode([VERSION, trailer])
    return body + len(body).to_bytes(4, "little") + hashing.plain_hash(body)[:16] + FOOTER_MAGIC


def decode_trailer(tail: Buffer, pack: PackId, size: int) -> Trailer | int:
    """The trailer out of a pack's last bytes, or how many last bytes are needed.

    Raises `PackDamaged`, `VersionUnknown`.
    """
    view = memoryview(tail)
    where = name(pack)
    if size < len(HEADER) + FOOTER_SIZE or bytes(view[-len(FOOTER_MAGIC) :]) != FOOTER_MAGIC:
        raise PackDamaged(f"{where} does not end like a pack. {ADVICE}")
    length = int.from_bytes(view[-FOOTER_SIZE : -FOOTER_SIZE + 4], "little")
    needed = length + FOOTER_SIZE
    if needed > min(size - len(HEADER), MAX_TRAILER):
        raise PackDamaged(f"{where} has an impossible trailer length. {ADVICE}")
    if needed > len(view):
        return needed
    body = view[len(view) - needed : len(view) - FOOTER_SIZE]
    checksum = bytes(view[-FOOTER_SIZE + 4 : -len(FOOTER_MAGIC)])
    if not hashing.same(hashing.plain_hash(body)[:16], checksum):
        raise PackDamaged(f"{where} has a damaged trailer. {ADVICE}")
    try:
        version, raw = msgspec.msgpack.decode(body, type=tuple[int, msgspec.Raw])
        if version != VERSION:
            raise VersionUnknown(f"{where} has pack format {version}. Upgrade strongroom.")
        trailer = _trailer.decode(raw)
        for session in trailer.sessions:
            session.check()
    except (*MALFORMED, Damaged) as error:
        raise PackDamaged(f"{where} has an invalid trailer: {error} {ADVICE}") from error
    if not 1 <= len(trailer.sessions) <= MAX_SESSIONS:
        raise PackDamaged(f"{where} has an impossible number of sessions. {ADVICE}")
    end = check_bundles(trailer.bundles, size - needed, len(trailer.sessions), where)
    if end != size - needed:
        raise PackDamaged(f"{where} has bytes that belong to no bundle. {ADVICE}")
    return trailer


def check_bundles(bundles: list[BundleEntry], limit: int, sessions: int, where: str) -> int:
    """Bundles lie one behind the other, from the header on; returns where the last one ends.

    Raises `PackDamaged`, also if that is behind `limit`.
    """
    at = len(HEADER)
    if not 1 <= len(bundles) <= MAX_BUNDLES:
        raise PackDamaged(f"{where} has an impossible number of bundles. {ADVICE}")
    for bundle in bundles:
        count, rest = divmod(len(bundle.chunks), ID_SIZE)
        if (
            bundle.offset != at
            or bundle.length <= OVERHEAD
            or bundle.kind not in (DATA, TREE)
            or not 0 <= bundle.session < sessions
            or rest
            or not 1 <= count <= MAX_CHUNKS
        ):
            raise PackDamaged(f"{where} has an impossible table of bundles. {ADVICE}")
        at += bundle.length
    if at > limit:
        raise PackDamaged(f"{where} ends before its bundles do. {ADVICE}")
    return at


def read_trailer(store: Store, pack: PackId, size: int) -> Trailer:
    """One request for most packs, two for those with very many chunks.

    Raises `PackDamaged`, `VersionUnknown`, and the store's errors.
    """
    asked = min(size, _GUESS)
    result = decode_trailer(store.get(name(pack), size - asked, asked), pack, size)
    if isinstance(result, int):
        result = decode_trailer(store.get(name(pack), size - result, result), pack, size)
    if isinstance(result, int):
        raise PackDamaged(f"{name(pack)} changes while it is read. {ADVICE}")
    return result


def read_tables(store: Store, wanted: Collection[PackId]) -> tuple[list[IndexedPack], dict[PackId, str]]:
    """The tables of packs out of their own trailers, and why that failed for the others.

    A store that lets this client write alone refuses to give any. Raises the store's other errors.
    """
    lost: dict[PackId, str] = {}
    return list(each_table(store, wanted, lost)), lost


def each_table(store: Store, wanted: Collection[PackId], lost: dict[PackId, str]) -> Iterator[IndexedPack]:
    """The same one after the other; `lost` is told of those that cannot be read."""
    sizes = {id_of(one.name): one.size for one in store.list("packs/")} if wanted else {}
    for pack in wanted:
        size = sizes.get(pack)
        try:
            if size is None:
                raise PackDamaged(f"{name(pack)} is missing. {ADVICE}")
            found = IndexedPack(pack, size, read_trailer(store, pack, size).bundles)
        except (Damaged, ObjectMissing, StoreFailed, StoreRefused) as error:
            lost[pack] = str(error)
        else:
            yield found


def index_groups(tables: Iterable[IndexedPack]) -> Iterator[list[IndexedPack]]:
    """What goes into one index object each."""
    group: list[IndexedPack] = []
    chunks = 0
    for table in tables:
        group.append(table)
        chunks += sum(len(bundle.chunks) // ID_SIZE for bundle in table.bundles)
        if chunks >= INDEX_TARGET:
            yield group
            group, chunks = [], 0
    if group:
        yield group


def whole_trailer(blob: Buffer, pack: PackId) -> Trailer:
    """Of a pack whose bytes are at hand. Raises `PackDamaged`, `VersionUnknown`."""
    found = decode_trailer(blob, pack, len(blob))
    if isinstance(found, int):
        raise PackDamaged(f"{name(pack)} has an impossible trailer length. {ADVICE}")
    return found


def encode_index(packs: list[IndexedPack]) -> tuple[IndexId, bytes]:
    blob = msgspec.msgpack.encode([VERSION, packs])
    return IndexId(hashing.plain_hash(blob)), blob


def decode_index(blob: bytes, index: IndexId) -> list[IndexedPack]:
    """Raises `Damaged`, `VersionUnknown`."""
    where = index_name(index)
    if len(blob) > MAX_INDEX or not hashing.same(hashing.plain_hash(blob), index):
        raise Damaged(f"{where} is damaged. {ADVICE}")
    try:
        version, raw = msgspec.msgpack.decode(blob, type=tuple[int, msgspec.Raw])
        if version != VERSION:
            raise VersionUnknown(f"{where} has index format {version}. Upgrade strongroom.")
        packs = _tables.decode(raw)
    except MALFORMED as error:
        raise Damaged(f"{where} is invalid: {error}. {ADVICE}") from error
    for pack in packs:
        if len(pack.pack) != ID_SIZE or not 0 < pack.size <= MAX_PACK:
            raise Damaged(f"{where} names an impossible pack. {ADVICE}")
        check_bundles(pack.bundles, pack.size - FOOTER_SIZE, MAX_SESSIONS, where)
    return packs


ADVICE = "Run `strongroom check`; a second repository, if you have one, still holds it."
