"""Everything that a file system can hold, through every way in and out: `soak/roundtrip`, much smaller."""

import os

from mounting import FUSE
from program import Program
from roundtrip import RoundTrip
from zoo import Scale, build

TINY = Scale(levels=100, entries=300, sparse=100 << 20, modes=61)


def test_the_zoo_comes_back_by_every_way(sr: Program) -> None:
    tree = sr.cwd / "zoo"
    tree.mkdir()
    build(tree, TINY)
    trip = RoundTrip(sr, tree)
    fuse = FUSE and os.access("/dev/fuse", os.R_OK | os.W_OK)
    trip.everything(rsync_without=("/deep", "/kinds/socket"), fuse=fuse)
    assert trip.problems == []
    ways = {"extract", "extract --continue", "names of users and groups"} | ({"mount"} if fuse else set())
    assert trip.looked_at.keys() == ways
    looked = trip.looked_at["extract"]
    at_least = {"mode": 1000, "content": 600, "xattr": 140, "links": 16, "data": 9, "target": 30, "flags": 3}
    assert all(looked[what] >= count for what, count in at_least.items()), looked
