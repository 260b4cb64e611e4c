"""The cache is mapped, and does not stay so: memory does not grow with what goes through it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import os, re, sys
from pathlib import Path
from strongroom.ids import RepositoryId
from strongroom.repository import mapped
from strongroom.repository.cache import Cache

if not int(sys.argv[2]):
    mapped._MOST = 1 << 40
cache = Cache(Path(sys.argv[1]), RepositoryId(bytes(32)))
most = 0
with cache.env.begin(db=cache.dbs["files"]) as reader:
    for part in range(100):
        with cache.writing("files") as txn:
            for number in range(100):
                txn.put(b"%d.%d" % (part, number), bytes([part]) * 10_000)
        with cache.reading("files") as txn:
            for number in range(100):
                assert txn.get(b"%d.%d" % (part, number)) == bytes([part]) * 10_000
        status = open("/proc/self/status").read()
        most = max(most, int(re.search(r"RssFile:\\s+(\\d+)", status)[1]))
with cache.reading("files") as txn:
    for part in range(100):
        for number in range(100):
            assert txn.get(b"%d.%d" % (part, number)) == bytes([part]) * 10_000
print(most)
"""


@pytest.mark.parametrize("bounded", [True, False])
def test_what_is_mapped_stays_small(tmp_path: Path, bounded: bool) -> None:
    """100 MB go through; without it they stay."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path / "cache"), str(int(bounded))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"\d+\n", done.stdout)
    most = int(done.stdout) * 1024
    assert most < 45_000_000 if bounded else most > 90_000_000
