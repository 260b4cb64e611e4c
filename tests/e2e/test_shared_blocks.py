"""`extract` lets equal files share their blocks, where the file system can; they stay files apart."""

import errno
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from program import Program, patterned
from strongroom.archive.platform import cloning
from treefacts import differences, facts

_FIEMAP, _SYNC, _SHARED = 0xC020660B, 1, 0x2000
_SIZE = 200_000


@pytest.fixture
def tree(sr: Program, src: Path) -> Path:
    for name in ("one", "two", "three"):
        (src / name).write_bytes(patterned(_SIZE))
    (src / "others-write").write_bytes(patterned(_SIZE))
    (src / "others-write").chmod(0o666)
    (src / "another-mode").write_bytes(patterned(_SIZE))
    (src / "another-mode").chmod(0o640)
    (src / "small").write_bytes(patterned(_SIZE)[:1000])
    (src / "sealed").mkdir()
    (src / "sealed" / "copy").write_bytes(patterned(_SIZE))
    os.link(src / "one", src / "zz-linked-one")
    (src / "sealed").chmod(0o555)
    (src / "different").write_bytes(patterned(_SIZE, 1))
    sr("create", "::a", "src").ok()
    return src


def counting(log: Path, fails: int = 0) -> Callable[[], None]:
    """For `before`: a file system that shares blocks, as far as one can see; it notes what."""

    def pretend() -> None:
        def clone(source: int, target: int) -> None:
            if fails:
                os.write(target, b"in part")
                raise OSError(fails, os.strerror(fails))
            assert not os.fstat(target).st_size
            os.sendfile(target, source, 0, os.fstat(source).st_size)
            with log.open("a") as stream:
                stream.write(os.path.basename(os.readlink(f"/proc/self/fd/{target}")) + "\n")

        cloning.clone = clone
        cloning.can_clone = lambda folder: True

    return pretend


def extract(program: Program, before: Callable[[], None] | None, *words: str) -> Path:
    out = program.root / "out"
    out.mkdir(exist_ok=True)
    program("extract", *words, "--to", str(out), "::a", before=before).ok()
    return out / "src"


def test_equal_files_of_one_owner_and_mode_share(sr: Program, tree: Path) -> None:
    log = sr.root / "log"
    assert differences(facts(tree), facts(extract(sr, counting(log), "--verify"))) == []
    assert sorted(log.read_text().split()) == ["three", "two"]  # "one" has two names, "copy" came first


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EINVAL, errno.ENOSPC])
def test_what_cannot_be_shared_is_restored_as_any_other(sr: Program, tree: Path, error: int) -> None:
    out = extract(sr, counting(sr.root / "log", error))
    assert differences(facts(tree), facts(out)) == []


@pytest.mark.parametrize("words", [["--continue"], ["--sparse"]])
def test_over_what_an_earlier_restore_left(sr: Program, tree: Path, words: list[str]) -> None:
    log = sr.root / "log"
    out = extract(sr, None)
    (out / "two").write_bytes(b"other")
    with (out / "three").open("r+b") as stream:
        stream.truncate(_SIZE // 2)
    assert differences(facts(tree), facts(extract(sr, counting(log), *words))) == []
    assert "two" in log.read_text().split()


@pytest.fixture(params=["btrfs", "xfs"])
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    kind, size = request.param, {"btrfs": 128 << 20, "xfs": 320 << 20}[request.param]
    if os.geteuid() or shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"no {kind} can be made here")
    image, point = tmp_path / "image", tmp_path / "mounted"
    point.mkdir()
    with image.open("wb") as stream:
        stream.truncate(size)
    subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True, capture_output=True)
    if subprocess.run(
        ["mount", "-o", "loop", str(image), str(point)], capture_output=True, check=False
    ).returncode:
        pytest.skip("may not mount")
    yield point
    subprocess.run(["umount", str(point)], check=True)


def is_shared(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        raw = bytearray(struct.pack("=QQLLLL", 0, 1 << 62, _SYNC, 0, 1, 0) + bytes(56))
        fcntl.ioctl(fd, _FIEMAP, raw)
    finally:
        os.close(fd)
    return bool(struct.unpack_from("=L", raw, 32 + 40)[0] & _SHARED)


def test_blocks_are_shared_on_real_file_systems(sr: Program, tree: Path, sharing: Path) -> None:
    sr("extract", "--verify", "--to", str(sharing), "::a").ok()
    out = sharing / "src"
    assert differences(facts(tree), facts(out)) == []
    shared = {name for name in ("two", "three", "others-write", "another-mode") if is_shared(out / name)}
    assert (
        shared == {"two", "three"} and is_shared(out / "sealed" / "copy") and not is_shared(out / "different")
    )
    with (out / "two").open("r+b") as stream:
        stream.write(b"changed")
    assert (out / "three").read_bytes() == patterned(_SIZE)


def test_holes_take_no_space_on_real_file_systems(sr: Program, src: Path, sharing: Path) -> None:
    """What XFS allocates in advance for a file that grows would stay in its holes."""
    with (src / "sparse").open("wb") as stream:
        stream.truncate(4 << 20)
        for at in range(0, 4 << 20, 8192):
            stream.seek(at)
            stream.write(patterned(4096, at))
    sr("create", "::a", "src").ok()
    sr("extract", "--to", str(sharing), "::a").ok()
    restored = sharing / "src" / "sparse"
    os.sync()
    assert restored.stat().st_blocks * 512 < 3 << 20
    assert differences(facts(src), facts(restored.parent)) == []
