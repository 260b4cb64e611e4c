"""Streams of files from far away: several bundles are under way at once, and damage is told as ever."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from program import Program, patterned
from sshd import direct_rsh
from strongroom.repository.reading import BundleReader

FILES = {f"src/{number}": patterned(2_000_000, number) for number in range(10)}


@pytest.fixture
def far(sr: Program, src: Path) -> Program:
    """Its repository, behind a connection."""
    for name, data in FILES.items():
        (sr.cwd / name).write_bytes(data)
    sr("create", "::a", "src").ok()
    sr.env |= {
        "STRONGROOM_RSH": direct_rsh(sr.root),
        "STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "STRONGROOM_REPO": f"ssh://far{sr.repo}",
    }
    sr("list").ok()  # it asks about the new place once
    return sr


def meeting(sizes: int) -> Callable[[], None]:
    """For `before`: bundles larger than so many bytes are fetched by six at once, or not at all."""

    def hook() -> None:
        together, first = threading.Barrier(6), iter(range(6))
        real = BundleReader.fetch

        def fetch(reader: BundleReader, pack: Any, bundle: Any) -> Any:
            if bundle.length > sizes and next(first, None) is not None:
                together.wait(timeout=60)  # breaks, and with it the command, unless others come
            return real(reader, pack, bundle)

        BundleReader.fetch = fetch  # type: ignore[method-assign]

    return hook


def test_export_tar_has_several_under_way(far: Program) -> None:
    done = far("export-tar", "::a", "-", before=meeting(100_000)).ok()
    with tarfile.open(fileobj=io.BytesIO(done.raw)) as tar:
        assert tar.getnames() == ["src", *FILES]
        for name, data in FILES.items():
            member = tar.extractfile(name)
            assert member is not None and member.read() == data


@pytest.mark.parametrize("words", [("extract", "--stdout", "::a"), ("cat", "::a", *FILES)])
def test_files_on_the_standard_output_have_several_under_way(far: Program, words: tuple[str, ...]) -> None:
    done = far(*words, before=meeting(100_000)).ok()
    assert hashlib.sha256(done.raw).digest() == hashlib.sha256(b"".join(FILES.values())).digest()


def test_damage_ends_a_stream_at_the_file_that_has_it(sr: Program, src: Path) -> None:
    for name, data in FILES.items():
        (sr.cwd / name).write_bytes(data)
    sr("create", "--compression", "none", "::a", "src").ok()
    whole = b"".join(FILES.values())
    packs = sorted((sr.repo / "packs").rglob("*/*"), key=lambda path: path.stat().st_size)
    stored = bytearray(packs[-1].read_bytes())
    stored[len(stored) // 2] ^= 1
    packs[-1].chmod(0o600)
    packs[-1].write_bytes(stored)
    done = sr("extract", "--stdout", "::a")
    assert done.code == 2 and "src/" in done.err and "Traceback" not in done.err
    assert len(done.raw) > 2_000_000 and whole.startswith(done.raw)
