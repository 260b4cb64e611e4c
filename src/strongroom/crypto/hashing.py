"""Hashes and the keys derived from the id key. All are BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs)."""

from _operator import _compare_digest as compare_digest  # what hmac falls back to: that loads OpenSSL again
from collections.abc import Callable, Iterable

from blake3 import blake3

from strongroom.ids import KEY_ID_SIZE, ChunkId, KeyId, NameTag

Buffer = bytes | bytearray | memoryview
Hasher = blake3

_NAME_CONTEXT = "strongroom 1 archive name tag"
_PATH_CONTEXT = "strongroom 1 local cache path tag"


def plain_hash(*parts: Buffer) -> bytes:
    """BLAKE3 of the concatenation: the name of every object that a server can verify without a key."""
    return blake3(parts[0]).digest() if len(parts) == 1 else hash_in_pieces(parts)


def hash_in_pieces(parts: Iterable[Buffer]) -> bytes:
    """The same, of parts that come one after the other."""
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def same(one: bytes, other: bytes) -> bool:
    """Equality in constant time."""
    return compare_digest(one, other)


def chunk_hasher(id_key: bytes) -> Callable[[Buffer], ChunkId]:
    """The function that names chunks: BLAKE3 of the plaintext, keyed with the 32-byte id key."""

    def chunk_id(data: Buffer) -> ChunkId:
        return ChunkId(blake3(data, key=id_key).digest())

    return chunk_id


def name_tag(id_key: bytes, name: str) -> NameTag:
    """Tells whether two archives share a name, to those who hold the id key, without telling the name."""
    derived = blake3(id_key, derive_key_context=_NAME_CONTEXT).digest()
    return NameTag(blake3(name.encode("utf-8", "surrogateescape"), key=derived).digest())


def path_tagger(id_key: bytes) -> Callable[[bytes], bytes]:
    """16-byte tags that stand for paths in the local cache, so that it holds no names."""
    derived = blake3(id_key, derive_key_context=_PATH_CONTEXT).digest()

    def tag(path: bytes) -> bytes:
        return blake3(path, key=derived).digest(16)

    return tag


def key_id(public_key: bytes) -> KeyId:
    """The id of a key holder: the leading half of the hash of its raw Ed25519 public key."""
    return KeyId(plain_hash(public_key)[:KEY_ID_SIZE])
