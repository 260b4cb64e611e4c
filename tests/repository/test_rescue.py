"""Packs that parity brings back: how many of them are in memory while the next one is."""

import weakref
from pathlib import Path

from program import patterned
from strongroom.crypto import hashing
from strongroom.ids import PackId
from strongroom.repository import packs, parity
from strongroom.repository.rescue import Rescue
from strongroom.store.local import LocalStore
from strongroom.store.protocol import Buffer


class Counting(LocalStore):
    """Notes how many of `found` are alive whenever parity is asked for."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.found: list[weakref.ref[Buffer]] = []
        self.alive: list[int] = []

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if name.startswith("parity/"):
            self.alive.append(sum(one() is not None for one in self.found))
        return super().get(name, offset, length)


def damaged_pack(store: LocalStore, folder: Path, seed: int) -> tuple[PackId, bytes]:
    blob = patterned(300_000, seed)
    pack = PackId(hashing.plain_hash(blob))
    parity.put_beside(store, pack, [blob], 10)
    store.put(packs.name(pack), [blob])
    path = folder / packs.name(pack)
    path.chmod(0o600)
    path.write_bytes(blob[:1000] + b"rot" + blob[1003:])
    return pack, blob


def test_one_healed_pack_is_kept_while_the_next_is_healed_in_place(tmp_path: Path) -> None:
    store = Counting(str(tmp_path))
    made = [damaged_pack(store, tmp_path, seed) for seed in range(4)]
    rescue = Rescue(store, None, lambda _: None)
    store.alive.clear()
    for pack, blob in made:
        healed = rescue.pack(pack)
        assert healed == blob
        assert healed is not None
        store.found.append(weakref.ref(healed))
        assert rescue.pack(pack) is healed, "the bundles of a pack are asked for one by one"
        del healed
    assert store.alive == [0, 1, 1, 1]


def test_healing_makes_no_second_copy() -> None:
    blob = patterned(300_000)
    pack = PackId(hashing.plain_hash(blob))
    left = memoryview(bytearray(b"rot" + blob[3:]))
    healed = parity.heal(pack, left, b"".join(parity.encode(pack, blob, 10))).blob
    assert healed is left and healed == blob
