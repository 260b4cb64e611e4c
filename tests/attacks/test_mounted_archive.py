"""Whoever wrote an archive cannot harm who mounts it."""

import os
import socket
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from mounting import detach, mount, mounted, needs_fuse
from program import Program
from strongroom.archive import trees
from strongroom.archive.entries import Entry
from strongroom.cli.session import Session

pytestmark = needs_fuse


def forging(change: Callable[[Entry], None]) -> Callable[[], None]:
    """For `before` of create: a hostile client that writes other entries than the folder has."""

    def hook() -> None:
        real = trees.encode_tree

        def encode(entries: Iterable[Entry]) -> object:
            forged = list(entries)
            for entry in forged:
                change(entry)
            return real(forged)

        trees.encode_tree = encode  # type: ignore[assignment]

    return hook


@pytest.mark.parametrize("name", [b"..", b"../up", b"a/b", b"."])
def test_a_tree_with_names_that_lead_elsewhere_is_not_shown(sr: Program, src: Path, name: bytes) -> None:
    (src / "good").mkdir()
    (src / "good" / "file").write_text("fine")
    (src / "bad").mkdir()
    (src / "bad" / "victim").write_text("hostile")

    def change(entry: Entry) -> None:
        if entry.name == b"victim":
            entry.name = name

    sr("create", "::a", "src", before=forging(change)).ok()
    running, place = mount(sr, "::a")
    try:
        with pytest.raises(OSError, match="Input/output error"):
            os.listdir(place / "src/bad")
        assert (place / "src/good/file").read_text() == "fine"
        sr("umount", str(place)).ok()
    finally:
        detach(place)
    done = running.wait()
    assert done.code == 1 and "which no file can have" in done.err


@pytest.mark.parametrize("host", ["../../../etc", "..", "/", "a\0b", "x" * 3000])
def test_a_host_or_archive_cannot_be_called_like_another_place(sr: Program, src: Path, host: str) -> None:
    (src / "file").write_text("x")

    def pretend() -> None:
        socket.gethostname = lambda: host
        if host != "..":
            Session.archive = property(lambda _: "../../up")  # type: ignore[assignment]

    sr("create", "::latest", "src", before=pretend).ok()
    with mounted(sr, "::") as place:
        archive = "latest" if host == ".." else "..%2F..%2Fup"
        assert set(os.listdir(place)) == {archive, "latest", "by-name", "by-host", "by-date"}
        (shown,) = os.listdir(place / "by-host")
        assert "/" not in shown and shown not in (".", "..") and len(shown) <= 255
        for name in os.listdir(place / "by-host" / shown):
            link = place / "by-host" / shown / name
            assert link.resolve().parent == place.resolve()
            assert (link / "src/file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_devices_and_set_id_bits_of_an_archive_are_inert(sr: Program, src: Path) -> None:
    os.mknod(src / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    sr("create", "::a", "src").ok()
    with mounted(sr, "::a") as place:
        table = Path("/proc/self/mountinfo").read_text()
        (line,) = (one for one in table.splitlines() if f" {place} " in one)
        assert {"ro", "nosuid", "nodev"} <= set(line.split()[5].split(","))
        with pytest.raises(PermissionError):
            (place / "src/zero").open("rb")
    with mounted(sr, "::a", "-o", "dev") as place:
        assert (place / "src/zero").open("rb").read(3) == bytes(3)


def test_metadata_beyond_what_the_system_counts(sr: Program, src: Path) -> None:
    (src / "file").write_text("x")

    def change(entry: Entry) -> None:
        if entry.name == b"file":
            entry.mtime, entry.ctime, entry.atime = (1 << 64) - 1, -(1 << 63), 0
            entry.uid = entry.gid = (1 << 32) - 2
            entry.user = entry.group = "\ud800".encode("utf-8", "replace").decode()
            entry.xattrs = {b"system.posix_acl_access": b"forged", b"user.x": b"y", b"\xff" * 255: b""}

    sr("create", "::a", "src", before=forging(change)).ok()
    with mounted(sr, "::a") as place:
        status = os.stat(place / "src/file")
        assert status.st_uid == (1 << 32) - 2 and stat.S_IMODE(status.st_mode) == 0o644
        assert os.getxattr(place / "src/file", "user.x") == b"y"
        with pytest.raises(OSError, match=r"No data|not supported|Invalid"):
            os.getxattr(place / "src/file", "system.posix_acl_access")
        assert (place / "src/file").read_text() == "x"
