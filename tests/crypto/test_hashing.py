"""Names of objects, and the keys derived from the id key."""

import pytest
from blake3 import blake3

from strongroom.crypto import hashing

ID_KEY = bytes(range(32))


def test_hashing_parts_is_hashing_their_concatenation() -> None:
    assert hashing.plain_hash(b"ab", b"", bytearray(b"c"), memoryview(b"d")) == blake3(b"abcd").digest()
    # the test vector of the empty input in the BLAKE3 repository
    assert hashing.plain_hash().hex().startswith("af1349b9f5f9a1a6a0404dea36dcc949")


def test_chunk_ids_need_the_id_key() -> None:
    name = hashing.chunk_hasher(ID_KEY)
    assert name(b"data") == name(memoryview(bytearray(b"data")))
    assert len({name(b"data"), hashing.plain_hash(b"data"), hashing.chunk_hasher(bytes(32))(b"data")}) == 3


def test_no_derived_value_stands_for_another() -> None:
    """The same input under the same key gives unrelated values for every purpose."""
    name = hashing.name_tag(ID_KEY, "x")
    path = hashing.path_tagger(ID_KEY)(b"x")
    chunk = hashing.chunk_hasher(ID_KEY)(b"x")
    assert len({name[:16], path, chunk[:16], hashing.key_id(b"x")}) == 4
    assert len(path) == len(hashing.key_id(b"x")) == 16


@pytest.mark.parametrize("name", ["", "daily", "grüße", "\udcff\udc80"])
def test_any_name_has_a_tag_of_its_own(name: str) -> None:
    tag = hashing.name_tag(ID_KEY, name)
    assert tag == hashing.name_tag(ID_KEY, name)
    assert tag != hashing.name_tag(ID_KEY, name + " ") and tag != hashing.name_tag(bytes(32), name)


def test_equality() -> None:
    assert hashing.same(b"ab", b"ab") and not hashing.same(b"ab", b"ac") and not hashing.same(b"ab", b"a")
