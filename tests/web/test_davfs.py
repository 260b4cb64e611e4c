"""WebDAV as a folder: davfs2 mounts it, and all that it shows is as it was archived."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from browsing import Site, fixtures
from mounting import detach, needs_fuse
from program import Program, patterned

MOUNT = shutil.which("mount.davfs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

# CI installs it: there its absence is a failure, not an excuse
pytestmark = [
    needs_fuse,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root"),
    pytest.mark.skipif(MOUNT is None and "CI" not in os.environ, reason="davfs2 is not installed"),
]

NAMES = [
    b"plain.txt", b"with space", "ümläut 漢字 🙂".encode(), b"nfd e\xcc\x81", b"50%", b"%41", b"%2f", b"a#b",
    b"a?b=c&d", b"a+b", b"semi;colon", b"quote\"'", b"<x>&amp;", b"back\\slash", b"latin\xe9", b"\xff\xfe",
    b"new\nline", b"control\x01", b" before", b"behind ", b".hidden", b"[br]", b"a:b", b"*",
    "ü".encode() * 120, b"x" * 248,
]  # fmt: skip
FOLDERS = [b"", b"sub folder %#?", b"bytes\xff", "ordner ü".encode()]


def fill(program: Program, src: Path) -> None:
    for folder in FOLDERS:
        place = Path(os.fsdecode(os.path.join(os.fsencode(src), folder)))
        place.mkdir(exist_ok=True)
        for number, name in enumerate(NAMES):
            (place / os.fsdecode(name)).write_bytes(name * number)
    (src / "large").write_bytes(patterned(3_000_000))
    (src / "link").symlink_to("large")
    (src / "folder-link").symlink_to("ordner ü")
    program("create", "::mon day", "src").ok()


program, site = fixtures(fill)


@contextmanager
def mounted(site: Site) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="strongroom-davfs-"))
    place, cache, config = work / "mnt", work / "cache", work / "davfs2.conf"
    work.chmod(0o755)  # mount.davfs becomes another user
    place.mkdir()
    cache.mkdir()
    shutil.chown(cache, group="davfs2")
    cache.chmod(0o770)
    # from Linux 6.16 on the smaller buffer that is set by itself is refused by the kernel
    config.write_text(f"buf_size 64\nuse_locks 0\ncache_dir {cache}\n")
    words = ["mount", "-t", "davfs", "-o", f"ro,conf={config}", f"{site.address}/dav/", str(place)]
    subprocess.run(words, input=f"anybody\n{site.token}\n".encode(), check=True, stdout=subprocess.DEVNULL)
    try:
        yield place
        subprocess.run(["umount", place], check=True, capture_output=True)
    finally:
        detach(place)
        shutil.rmtree(work)


def contents(top: Path) -> dict[bytes, bytes | None]:
    """Of every path below; None for a folder."""
    found: dict[bytes, bytes | None] = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        for name in folders:
            if not os.path.islink(os.path.join(folder, name)):
                found[os.path.relpath(os.path.join(folder, name), os.fsencode(top))] = None
        for name in files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, os.fsencode(top))] = Path(os.fsdecode(path)).read_bytes()
    return found


def test_a_mount_by_davfs2_shows_every_file_under_its_own_name(program: Program, site: Site) -> None:
    with mounted(site) as place:
        assert contents(place / "mon day" / "src") == contents(program.cwd / "src")
        file = place / "mon day" / "src" / "large"
        assert int(file.stat().st_mtime) == int((program.cwd / "src" / "large").stat().st_mtime)
        with pytest.raises(OSError, match="Read-only"):
            (place / "mon day" / "new").write_bytes(b"")
