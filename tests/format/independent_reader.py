"""A reader of repositories written from docs/format.md alone; it knows nothing of the program.

for path, entry, content in Repository(folder).open(passphrase).files("name"): ...
"""

import binascii
import hashlib
import hmac
import json
import lzma
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lz4.block
import msgspec
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

unpack = msgspec.msgpack.decode

DATA, TREE, ARCHIVE = 0, 1, 2
HOLE = bytes(32)
SIGNERS = {
    "key-add": {"admin"},
    "key-revoke": {"admin"},
    "archive": {"admin", "backup"},
    "rename": {"admin"},
    "recreate": {"admin"},
    "recompress": {"admin"},
    "delete": {"admin", "backup", "server"},
    "undelete": {"admin", "backup"},
    "compact": {"admin", "server"},
    "repair": {"admin"},
}


class Refused(Exception):
    """Something is not as the page says."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Refused(what)


def ids_of(joined: bytes) -> list[bytes]:
    require(len(joined) % 32 == 0, "a list of ids")
    return [joined[at : at + 32] for at in range(0, len(joined), 32)]


def digest(data: bytes) -> bytes:
    return blake3(data).digest()


# --- HPKE, by hand (RFC 9180; X-Wing) ---


def _extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), secret, "sha256")


def _expand(secret: bytes, info: bytes, length: int) -> bytes:
    return hmac.digest(secret, info + b"\x01", "sha256")[:length]


def hpke_open(private: bytes, sealed: bytes, info: bytes) -> bytes:
    kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:64])
    curve = x25519.X25519PrivateKey.from_private_bytes(private[64:])
    ephemeral, encrypted = sealed[1088:1120], sealed[1120:]
    shared = hashlib.sha3_256(
        kem.decapsulate(sealed[:1088])
        + curve.exchange(x25519.X25519PublicKey.from_public_bytes(ephemeral))
        + ephemeral
        + curve.public_key().public_bytes_raw()
        + bytes.fromhex("5c2e2f2f5e5c")
    ).digest()
    suite = b"HPKE" + struct.pack(">HHH", 0x647A, 1, 2)

    def labeled(salt: bytes, label: bytes, secret: bytes) -> bytes:
        return _extract(salt, b"HPKE-v1" + suite + label + secret)

    schedule = b"\0" + labeled(b"", b"psk_id_hash", b"") + labeled(b"", b"info_hash", info)
    secret = labeled(shared, b"secret", b"")

    def derived(label: bytes, length: int) -> bytes:
        return _expand(secret, struct.pack(">H", length) + b"HPKE-v1" + suite + label + schedule, length)

    return AESGCM(derived(b"key", 32)).decrypt(derived(b"base_nonce", 12), encrypted, b"")


class Secrets(NamedTuple):
    repository: bytes
    name: str
    role: str
    protection: str
    id_key: bytes
    seed: int
    admin: bytes
    signing: bytes
    sealing_public: bytes
    sealing_private: bytes | None


class Place(NamedTuple):
    pack: bytes
    size: int
    bundle: list[Any]
    position: int


class Repository:
    """Opened from a folder: config and log are verified. `open` unwraps a key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        first, line, signature, rest = self._get("config").split(b"\n")
        require(first == b"strongroom repository, format 1" and rest == b"", "the config's form")
        self.config = json.loads(line)
        self.id = digest(line)
        self._verify(
            bytes.fromhex(self.config["admin_key"]),
            binascii.unhexlify(signature),
            b"strongroom 1 config\0" + line,
        )
        self.keys: dict[bytes, dict[str, Any]] = {}
        self.archives: dict[bytes, dict[str, Any]] = {}
        self.indexes: list[bytes] = []
        self.packs: list[bytes] = []
        self.freed: set[bytes] = set()
        self._read_log()

    def _get(self, name: str, hashed: bytes | None = None) -> bytes:
        data = (self._folder / name).read_bytes()
        require(hashed is None or digest(data) == hashed, f"the hash of {name}")
        return data

    def _verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)

    # --- the log ---

    def _read_log(self) -> None:
        previous, seq = bytes(32), 0
        while (self._folder / f"log/{seq + 1:020d}").exists():
            seq += 1
            stored = self._get(f"log/{seq:020d}")
            version, record, stamp, check = unpack(stored, type=tuple[int, bytes, int, bytes])
            body = b"".join(map(msgspec.msgpack.encode, (version, record, stamp)))
            require(version == 1 and blake3(body).digest(length=8) == check, "an envelope's check")
            require(b"\x94" + body + b"\xc4\x08" + check == stored, "an envelope's canonical form")
            version, payload, signature = unpack(record, type=tuple[int, bytes, bytes])
            require(version == 1, "a record's version")
            repository, number, before, _, kind, signer, content = unpack(payload)
            require(repository == self.id and number == seq and before == previous, "the chain")
            if kind == "init":
                require(seq == 1 and content[1].hex() == self.config["admin_key"], "the founder")
                self._add_key(content[0], "admin", content[1])
            require(signer in self.keys and not self.keys[signer]["revoked"], "a signer")
            require(kind == "init" or self.keys[signer]["role"] in SIGNERS[kind], "a signer's role")
            self._verify(self.keys[signer]["public"], signature, b"strongroom 1 log record\0" + payload)
            self._take(kind, content, asks=self.keys[signer]["role"] == "backup")
            previous = digest(record)
        require(seq > 0, "a log")

    def _add_key(self, name: str, role: str, public: bytes) -> None:
        key_id = digest(public)[:16]
        require(key_id not in self.keys and len(public) == 32, "a key that is new")
        self.keys[key_id] = {"name": name, "role": role, "public": public, "revoked": False}

    def _take(self, kind: str, body: list[Any], *, asks: bool) -> None:
        if kind == "key-add":
            self._add_key(*body)
        elif kind == "key-revoke":
            self.keys[body[0]]["revoked"] = True
        elif kind in ("delete", "undelete"):
            for one in map(self.archives.__getitem__, body[0]):
                if asks:
                    require(one["living"] and one["asked"] == (kind == "undelete"), "an archive's state")
                    one["asked"] = kind == "delete"
                elif kind == "delete":
                    require(one["living"], "an archive's state")
                    one["living"] = False
                else:
                    require(one["asked"] or not one["living"], "an archive's state")
                    one["living"], one["asked"] = True, False
        elif kind in ("compact", "repair"):
            freed, packs, indexes, _, new_packs, new_indexes, *_ = map(ids_of, body[:6])
            for archive in freed:
                require(not self.archives[archive]["living"] and archive not in self.freed, "a dead archive")
            self.freed.update(freed + packs + indexes)
            self.packs = [one for one in self.packs if one not in self.freed] + new_packs
            self.indexes = [one for one in self.indexes if one not in self.freed] + new_indexes
        elif kind in ("archive", "rename", "recreate", "recompress"):
            archive, tag, packs, indexes, *_ = body
            if kind == "recreate":
                self.archives[body[7]]["living"] = False
            taken = [one for one in self.archives.values() if one["living"] and one["tag"] == tag]
            require(archive not in self.archives and not taken, "an archive that is new")
            require(self.freed.isdisjoint(ids_of(packs) + ids_of(indexes)), "objects that were not freed")
            if kind == "rename":
                self.archives[body[7]]["living"] = False
            self.archives[archive] = {"tag": tag, "living": True, "asked": False, "uses": body[6]}
            self.packs += ids_of(packs)
            self.indexes += ids_of(indexes)

    # --- keys ---

    def open(self, passphrase: str) -> "Opened":
        for path in sorted((self._folder / "keys").iterdir()):
            blob = self._get(f"keys/{path.name}", bytes.fromhex(path.name))
            header, secrets = unwrap(blob, passphrase)
            require(header[1] == self.id == secrets.repository, "the key's repository")
            public = Ed25519PrivateKey.from_private_bytes(secrets.signing).public_key().public_bytes_raw()
            require(digest(public)[:16] == header[2] and header[2] in self.keys, "a known key")
            require(
                secrets.sealing_public.hex() == self.config["sealing_key"]
                and secrets.protection == self.config["protection"],
                "a key that fits the config",
            )
            return Opened(self, secrets)
        raise Refused("no key")


def unwrap(blob: bytes, passphrase: str) -> tuple[list[Any], Secrets]:
    require(blob[:13] == b"STRONGROOMKEY", "a key file")
    header_bytes, sealed = unpack(blob[13:], type=tuple[bytes, bytes])
    header = unpack(header_bytes)
    require(header[0] == 1, "the key file's version")
    key = bytes(32)
    if header[5] is not None:
        _, salt, passes, lanes, memory = header[5]
        kdf = Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory)
        key = kdf.derive(passphrase.encode())
    return header, Secrets(*unpack(AESGCM(key).decrypt(header[6], sealed, header_bytes)))


class Opened:
    """With the secrets of an admin or restore key."""

    def __init__(self, repository: Repository, secrets: Secrets) -> None:
        self._repository = repository
        self._get = repository._get
        self._secrets = secrets
        self._places: dict[bytes, Place] = {}
        self._sessions: dict[bytes, list[Any]] = {}
        self._bundles: dict[tuple[bytes, int], list[bytes]] = {}
        for index in repository.indexes:
            version, packs = unpack(self._get(f"index/{index.hex()}", index))
            require(version == 1, "an index's version")
            for pack, size, bundles in packs:
                for bundle in bundles:
                    for position, chunk in enumerate(ids_of(bundle[4])):
                        self._places.setdefault(chunk, Place(pack, size, bundle, position))

    def _decrypt(self, session: list[Any], kind: int, stored: bytes) -> bytes:
        name, algorithm, sealed = session
        identity = self._repository.id + name
        if algorithm == 0:
            require(self._secrets.protection != "sealed" and not any(stored[-16:]), "a plain session")
            return stored[8:-16]
        info = b"strongroom 1 session key" + identity + bytes([algorithm])
        key = hpke_open(self._secrets.sealing_private or b"", sealed, info)
        aead = {1: AESGCM, 2: ChaCha20Poly1305}[algorithm](key)
        data = b"strongroom 1 bundle" + identity + bytes([kind])
        return bytes(aead.decrypt(bytes(4) + stored[:8], stored[8:], data))

    def _sessions_of(self, pack: bytes, blob: bytes) -> list[Any]:
        if pack not in self._sessions:
            require(blob[:8] == b"SRPACK\x00\x01" and blob[-8:] == b"SRPKEND\x01", "a pack's ends")
            length = int.from_bytes(blob[-28:-24], "little")
            trailer = blob[-28 - length : -28]
            require(digest(trailer)[:16] == blob[-24:-8], "a trailer's checksum")
            version, (sessions, _) = unpack(trailer)
            require(version == 1, "a pack's version")
            self._sessions[pack] = sessions
        return self._sessions[pack]

    def chunk(self, wanted: bytes) -> bytes:
        place = self._places[wanted]
        key = place.pack, place.bundle[0]
        if key not in self._bundles:
            self._bundles[key] = self._bundle(place)
        found = self._bundles[key][place.position]
        require(blake3(found, key=self._secrets.id_key).digest() == wanted, "a chunk's id")
        return found

    def _bundle(self, place: Place) -> list[bytes]:
        text = place.pack.hex()
        blob = self._get(f"packs/{text[:2]}/{text}", place.pack)
        require(len(blob) == place.size, "a pack's size")
        offset, length, kind, session, _ = place.bundle
        stored = blob[offset : offset + length]
        return cut_bundle(self._decrypt(self._sessions_of(place.pack, blob)[session], kind, stored))

    # --- archives ---

    def archive(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        """Metadata, and the ids of all chunks."""
        derived = blake3(self._secrets.id_key, derive_key_context="strongroom 1 archive name tag").digest()
        tag = blake3(name.encode(), key=derived).digest()
        archives = self._repository.archives
        (found,) = [one for one, known in archives.items() if known["living"] and known["tag"] == tag]
        version, session, root, sealed = unpack(self._get(f"archives/{found.hex()}", found))
        require(version == 1, "an archive's version")
        plain = self._decrypt(session, ARCHIVE, sealed)
        require(plain[:32] == root, "the refs root")
        meta = unpack(plain[32:])
        require(meta["name"] == name.encode(), "the archive's name")
        chunks = list(self._refs(root))
        require(len(chunks) == archives[found]["uses"], "the number of uses")
        return meta, chunks

    def _refs(self, block: bytes, level: int | None = None) -> Iterator[bytes]:
        blob = self._get(f"refs/{block.hex()[:2]}/{block.hex()}", block)
        own, ids = blob[8] & 0x7F, blob[41 if blob[8] & 0x80 else 9 :]
        require(blob[:8] == b"SRREFS\x00\x01" and level in (None, own), "a block of refs")
        for one in ids_of(ids):
            if own:
                yield from self._refs(one, own - 1)
            else:
                yield one

    def files(self, name: str) -> Iterator[tuple[bytes, list[Any], bytes]]:
        """Path, entry and content of everything, folders before what they hold."""
        meta, _ = self.archive(name)
        yield from self._folder(b"", unpack(meta["root"]))

    def _folder(self, path: bytes, folder: list[Any]) -> Iterator[tuple[bytes, list[Any], bytes]]:
        before = b""
        pieces: list[list[Any]] = []
        for segment in ids_of(folder[8]):
            blob = self.chunk(segment)
            require(blob[0] == 1, "a tree's version")
            for piece in unpack(blob[1:]):
                entry = piece
                if stat.S_ISREG(piece[1]) and piece[10] is not None:
                    number, count = struct.unpack(">II", piece[10][:8])
                    require(number == len(pieces), "pieces in order")
                    pieces.append(piece)
                    if len(pieces) < count:
                        continue
                    entry, pieces = joined(pieces), []
                require(entry[0] > before and b"/" not in entry[0], "names in order")
                before = entry[0]
                inner = path + b"/" + entry[0] if path else entry[0]
                yield inner, entry, self.content(entry) if stat.S_ISREG(entry[1]) else b""
                if stat.S_ISDIR(entry[1]):
                    yield from self._folder(inner, entry)

    def content(self, entry: list[Any]) -> bytes:
        chunks = ids_of(entry[8])
        sizes = entry[9] if entry[9] is not None else [entry[7]] * len(chunks)
        parts = []
        for chunk, size in zip(chunks, sizes, strict=True):
            part = bytes(size) if chunk == HOLE else self.chunk(chunk)
            require(len(part) == size, "a chunk's size")
            parts.append(part)
        require(sum(map(len, parts)) == entry[7], "a file's size")
        return b"".join(parts)


def joined(pieces: list[list[Any]]) -> list[Any]:
    entry = list(pieces[0])
    entry[8], entry[9] = b"".join(one[8] for one in pieces), [size for one in pieces for size in one[9]]
    for piece in pieces:
        require(piece[:8] + piece[11:] == entry[:8] + entry[11:], "pieces of one file")
        require(piece[10][8:] == blake3(entry[8] + msgspec.msgpack.encode(entry[9])).digest(), "a long file")
    entry[10] = None
    return entry


def cut_bundle(plain: bytes) -> list[bytes]:
    version, algorithm, _, zero, count, raw_length, length = struct.unpack_from("<BBBBIII", plain)
    require(version == 1 and zero == 0, "a bundle's version")
    body = plain[16 : 16 + length]
    raw = decompress(algorithm, body, raw_length)
    require(len(raw) == raw_length, "a bundle's raw length")
    lengths = struct.unpack_from(f"<{count}I", raw)
    require(4 * count + sum(lengths) == raw_length, "the lengths of chunks")
    chunks, at = [], 4 * count
    for one in lengths:
        chunks.append(raw[at : at + one])
        at += one
    return chunks


def decompress(algorithm: int, body: bytes, raw_length: int) -> bytes:
    if algorithm == 0:
        return body
    if algorithm == 1:
        return bytes(lz4.block.decompress(body, uncompressed_size=raw_length))
    if algorithm == 2:
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=raw_length)
    if algorithm == 3:
        return zlib.decompress(body)
    require(algorithm == 4, "a known compression")
    return lzma.decompress(body, format=lzma.FORMAT_XZ)
