"""The data that is backed up: real files of this machine, chosen and made the same way each time.

A tree is made once in the work folder and reused as long as its recipe is the same.
"""

import contextlib
import filecmp
import functools
import hashlib
import itertools
import json
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

MIB = 1 << 20
SEED = 20261123
SMALL_FILES = 60_000
SMALL_BYTES = 1_000_000_000
LARGE_BYTES = 1_250_000_000
SMALL_FILE_LIMIT = 8 * MIB  # larger files have their own trees
TEXT_POOL = 384 * MIB
RECIPE = 3  # count up when the way a tree is made changes

ROOTS = [
    "/usr/include",
    "/usr/share",
    "/usr/lib/python3",
    "/usr/lib/python3.11",
    "/usr/lib/python3.12",
    "/usr/lib/python3.13",
    "/usr/lib/node_modules",
    "/usr/local",
    "/usr/lib",
    "/usr/src",
    "/opt",
    "/root/.pyenv",
    "/root/.rustup",
    "/usr/bin",
    "/var/lib",
]
"""Taken in this order, each sorted by path, until the tree is large enough."""

TEXT_SUFFIXES = (
    ".txt",
    ".md",
    ".rst",
    ".py",
    ".h",
    ".hpp",
    ".c",
    ".js",
    ".ts",
    ".html",
    ".log",
    ".pl",
    ".tcl",
)


class TooLittleData(Exception):
    """The machine has too few real files for a tree of the size asked for."""


@dataclass(frozen=True)
class Tree:
    name: str
    path: Path
    files: int
    bytes: int
    digest: str  # SHA-256 over paths and sizes, to tell whether two machines used the same
    roots: list[str]  # what its files came from

    def facts(self) -> dict[str, object]:
        return {key: value for key, value in asdict(self).items() if key != "path"}


def make(name: str, work: Path, scale: float) -> Tree:
    """The tree `name`, of SMALL_FILES, SMALL_BYTES or LARGE_BYTES times `scale`.

    Raises TooLittleData.
    """
    home = work / "trees" / f"{name}-{scale:g}"
    note = _note(home)
    if note.exists():
        facts = json.loads(note.read_text())
        if facts.pop("recipe") == RECIPE:
            return Tree(path=home, **facts)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    roots = MAKERS[name](home, scale)
    _settle(home)
    files, total, digest = 0, 0, hashlib.sha256()
    for path in regular_files(home):
        size = path.lstat().st_size
        digest.update(b"%s\0%d\0" % (os.fsencode(path.relative_to(home)), size))
        files, total = files + 1, total + size
    tree = Tree(name, home, files, total, digest.hexdigest(), roots)
    _remember(tree)
    return tree


def _note(home: Path) -> Path:
    return home.with_name(home.name + ".json")


def _remember(tree: Tree) -> None:
    _note(tree.path).write_text(json.dumps({"recipe": RECIPE, **tree.facts()}))


def _settle(home: Path) -> None:
    """Makes one tiny file the newest.

    Borg reads the files with the newest change time again in every run, in case one changed
    within the clock's resolution; a tree of one large file would tell of nothing else.
    """
    (home / "newest").write_bytes(b"newest\n")


def regular_files(root: Path) -> Iterator[Path]:
    """In the order of their paths; other file systems and symlinked folders are left out."""
    device = root.stat().st_dev
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if Path(folder, name).lstat().st_dev == device)
        for name in sorted(files):
            path = Path(folder, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def _small(home: Path, scale: float) -> list[str]:
    want_files, want_bytes = int(SMALL_FILES * scale), int(SMALL_BYTES * scale)
    files, total, used = 0, 0, []
    taken: set[str] = set()
    for root in map(Path, ROOTS):
        if not root.is_dir():
            continue
        used.append(str(root))
        for path in regular_files(root):
            size = path.stat().st_size
            if str(path) in taken or size > SMALL_FILE_LIMIT:
                continue
            target = home / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
            target.chmod(target.stat().st_mode | stat.S_IRUSR | stat.S_IWUSR)
            taken.add(str(path))
            files, total = files + 1, total + size
            if files >= want_files and total >= want_bytes:
                return used
    raise TooLittleData(
        f"{files} files and {total} bytes of real files found, {want_files} and {want_bytes} wanted; "
        "use a smaller --scale, or add a folder to ROOTS in benchmarks/trees.py"
    )


def _random(home: Path, scale: float) -> list[str]:
    source = random.Random(SEED)
    with (home / "random.bin").open("wb") as file:
        for block in _block_sizes(int(LARGE_BYTES * scale)):
            file.write(source.randbytes(block))
    return [f"random.Random({SEED})"]


def _block_sizes(total: int, block: int = MIB) -> Iterator[int]:
    yield from itertools.repeat(block, total // block)
    if total % block:
        yield total % block


def _text(home: Path, scale: float) -> list[str]:
    """Runs of 4 to 32 lines drawn from a pool of real text files.

    It compresses as the real files do, but no stretch of a chunk's length comes twice, which a
    plain repetition of the pool would hand to deduplication.
    """
    lines, used = text_pool()
    source = random.Random(SEED)
    want = int(LARGE_BYTES * scale)
    written = 0
    with (home / "text.txt").open("wb") as file:
        while written < want:
            start = source.randrange(len(lines) - 32)
            written += file.write(b"".join(lines[start : start + source.randint(4, 32)]))
        file.truncate(want)
    return used


@functools.cache
def text_pool() -> tuple[list[bytes], list[str]]:
    """Lines of real text files, and the folders they came from. Raises TooLittleData."""
    lines: list[bytes] = []
    total, used = 0, []
    seen: set[bytes] = set()  # the same licence lies in a hundred folders
    for root in map(Path, ROOTS):
        if not root.is_dir():
            continue
        used.append(str(root))
        for path in regular_files(root):
            if not path.name.endswith(TEXT_SUFFIXES):
                continue
            data = path.read_bytes()
            digest = hashlib.sha256(data).digest()
            if digest in seen or b"\0" in data:
                continue
            seen.add(digest)
            # minified files have lines of megabytes, which a drawn run would repeat whole
            lines += [line for line in data.splitlines(keepends=True) if len(line) <= 4096]
            total += len(data)
            if total >= TEXT_POOL:
                return lines, used
    if len(lines) < 100_000:
        raise TooLittleData(f"only {len(lines)} lines of text found below {', '.join(used)}")
    return lines, used


MAKERS: dict[str, Callable[[Path, float], list[str]]] = {"small": _small, "random": _random, "text": _text}
"""Those of `changing` join them."""
DEFAULT = list(MAKERS)


@contextlib.contextmanager
def changed(tree: Tree) -> Iterator[None]:
    """While open, 1 % differs: a part of each hundredth file, or of few files 1 MiB in each hundred."""
    source = random.Random(SEED + 1)
    # without its note an interrupted run's half-changed tree is made anew
    _note(tree.path).unlink()
    files = list(regular_files(tree.path))
    if len(files) >= 100:
        regions = [(path, path.stat().st_size // 3, 64) for path in files[::100]]
    else:
        regions = [(path, at, MIB) for path in files for at in range(0, path.stat().st_size, 100 * MIB)]
    undo: list[tuple[Path, int, bytes]] = []
    for path, at, length in regions:
        old = _exchange(path, at, length, source)
        undo.append((path, at, old))
    yield
    for path, at, old in undo:
        with path.open("r+b") as file:
            file.seek(at)
            file.write(old)
    _settle(tree.path)
    _remember(tree)


def forget(tree: Tree) -> None:
    """It is not what it was: the next run makes it anew."""
    _note(tree.path).unlink(missing_ok=True)


def _exchange(path: Path, at: int, length: int, source: random.Random) -> bytes:
    """Random bytes in place of those of a region, which are returned; the file's size stays."""
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(length)
        file.seek(at)
        file.write(source.randbytes(len(old)))
    return old


def differences(tree: Tree, restored: Path) -> list[str]:
    """Paths of regular files whose content is not the same in both; empty where all is well."""
    ours = {path.relative_to(tree.path) for path in regular_files(tree.path)}
    theirs = {path.relative_to(restored) for path in regular_files(restored)}
    found = [str(path) for path in ours ^ theirs]
    found += [
        str(path)
        for path in ours & theirs
        if not filecmp.cmp(tree.path / path, restored / path, shallow=False)
    ]
    return sorted(found)
