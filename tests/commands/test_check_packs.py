"""What a check holds of a repository's packs at a time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from strongroom.commands.check_packs import AHEAD, Finding, Listed, in_order
from strongroom.crypto.sealing import DATA
from strongroom.ids import PackId
from strongroom.repository.packs import BundleEntry, IndexedPack


def test_packs_wait_for_threads_a_few_at_a_time_and_come_out_in_order() -> None:
    taken: list[int] = []

    def named() -> Iterator[PackId]:
        for number in range(10 * AHEAD):
            taken.append(number)
            yield PackId(number.to_bytes(32))

    def look(pack: PackId) -> Finding:
        return Finding(chunks=int.from_bytes(pack))

    with ThreadPoolExecutor(2) as pool:
        for number, found in enumerate(in_order(pool, look, named())):
            assert found is not None
            assert found.chunks == number
            assert len(taken) <= number + AHEAD


def test_of_a_table_its_hash_is_kept_and_tells_any_difference() -> None:
    bundles = [BundleEntry(8, 100, DATA, 0, bytes(32)), BundleEntry(108, 90, DATA, 0, bytes(64))]
    one = Listed.of(IndexedPack(bytes(32), 300, bundles))
    assert one == Listed.of(IndexedPack(bytes(32), 300, list(bundles))) and len(one.table) == 32
    for other in (bundles[:1], [bundles[0], BundleEntry(108, 90, DATA, 0, bytes(63) + b"\1")]):
        assert one != Listed.of(IndexedPack(bytes(32), 300, other))
