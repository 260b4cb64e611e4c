"""Trees that grow or change from one backup to the next, and those that are hard in their own way."""

import base64
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import trees
from trees import LARGE_BYTES, MIB, SEED

REVISIONS = 20
EMPTY_FILES = 1_000_000
_FOLDER = 100  # empty-ish files in a folder
_PAGE = 4096


def _image(home: Path, scale: float) -> list[str]:
    """One file like a virtual machine's disk: real files on pages, with zeros between."""
    want, written, used = int(LARGE_BYTES * scale), 0, []
    dice = random.Random(SEED)
    with (home / "disk.img").open("wb") as image:
        for root in map(Path, trees.ROOTS):
            used.append(str(root))
            for path in trees.regular_files(root) if root.is_dir() else ():
                data = path.read_bytes()
                written += image.write(data + bytes(-len(data) % _PAGE))
                if dice.random() < 0.01:
                    written += image.write(bytes(min(want // 20, dice.randrange(16 * MIB))))
                if written >= want:
                    image.truncate(want)
                    return used
    raise trees.TooLittleData(f"{written} bytes of real files found, {want} wanted; use a smaller --scale")


def _empty(home: Path, scale: float) -> list[str]:
    """Very many files of a few bytes, most of which others have too."""
    for number in range(int(EMPTY_FILES * scale)):
        folder = home / f"{number // _FOLDER // 100:03}" / f"{number // _FOLDER % 100:02}"
        if number % _FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"file {number:07}").write_bytes(b"%d\n" % (number % 1000))
    return ["numbers"]


def _source(home: Path, scale: float) -> list[str]:
    """A source tree, as far as there is one: headers and Python modules."""
    want, written, used = int(LARGE_BYTES * scale) // 10, 0, []
    for root in map(Path, trees.ROOTS):
        used.append(str(root))
        for path in trees.regular_files(root) if root.is_dir() else ():
            if path.suffix not in (".h", ".hpp", ".py", ".c", ".js"):
                continue
            target = home / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            written += len(Path(shutil.copyfile(path, target)).read_bytes())
            if written >= want:
                return used
    raise trees.TooLittleData(f"{written} bytes of sources found, {want} wanted; use a smaller --scale")


def _dump(home: Path, scale: float) -> list[str]:
    """A database dump, at first half as long as it will be."""
    with (home / "dump.sql").open("wb") as file:
        for row in _rows(0, int(LARGE_BYTES * scale) // 2):
            file.write(row)
    return ["made-up rows"]


def _rows(seed: int, want: int) -> Iterator[bytes]:
    dice, written, number = random.Random(SEED + seed), 0, 0
    while written < want:
        number += 1
        row = b"INSERT INTO orders VALUES (%d,%d,'%032x',%d.%02d,'2026-%02d-%02d');\n" % (
            seed * 100_000_000 + number, dice.randrange(50_000), dice.getrandbits(96),
            dice.randrange(1000), dice.randrange(100), dice.randint(1, 12), dice.randint(1, 28),
        )  # fmt: skip
        written += len(row)
        yield row


def _mail(home: Path, scale: float) -> list[str]:
    """Folders of messages, a file each, of which one in eight carries an attachment in base64."""
    lines, used = trees.text_pool()
    inbox = home / "inbox" / "cur"
    inbox.mkdir(parents=True)
    written, want, dice = 0, int(LARGE_BYTES * scale) // 4, random.Random(SEED)
    number = 0
    while written < want:
        number += 1
        written += (inbox / f"{number}.host:2,S").write_bytes(_message(number, lines, dice))
    return used


def _message(number: int, lines: list[bytes], dice: random.Random) -> bytes:
    start = dice.randrange(len(lines) - 200)
    attached = base64.encodebytes(dice.randbytes(dice.randrange(400_000))) if dice.random() < 1 / 8 else b""
    head = b"From: someone%d@example.org\nMessage-ID: <%x@example.org>\nSubject: message %d\n\n" % (
        dice.randrange(500), dice.getrandbits(96), number,
    )  # fmt: skip
    return head + b"".join(lines[start : start + dice.randrange(5, 200)]) + attached


def _revise_mail(home: Path, number: int) -> None:
    """A day: new messages come, as many are filed in another folder, and flags change their names."""
    lines, _ = trees.text_pool()
    dice, inbox, filed = random.Random(SEED + number), home / "inbox" / "cur", home / "archive" / "cur"
    filed.mkdir(parents=True, exist_ok=True)
    old = sorted(inbox.iterdir())
    count = max(1, len(old) // 100)
    moved, flagged = dice.sample(old, count), dice.sample(old, count)
    for path in moved:
        path.rename(filed / path.name)
    for path in set(flagged) - set(moved):
        path.rename(path.with_name(path.name + "R"))
    for at in range(count):
        (inbox / f"{number}.{at}.host:2,").write_bytes(_message(at, lines, dice))


def _revise_source(home: Path, number: int) -> None:
    """One commit: lines are added to one file in fifty, a file moves, a file is new."""
    dice = random.Random(SEED + number)
    files = list(trees.regular_files(home))
    for path in dice.sample(files, max(1, len(files) // 50)):
        lines = path.read_bytes().splitlines(keepends=True)
        lines.insert(dice.randrange(len(lines) + 1), b"revision %d: %x\n" % (number, dice.getrandbits(64)))
        path.write_bytes(b"".join(lines))
    moved = dice.choice(files)
    moved.rename(moved.with_name(f"moved-{number}-{moved.name}"))
    (home / f"new-{number}.c").write_bytes(b"int revision = %d;\n" % number)


def _grow_dump(home: Path, number: int) -> None:
    """One in twenty of what was there at first comes at the end, and a row in the middle changes."""
    path = home / "dump.sql"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"%08d" % number)
        file.seek(0, 2)
        for row in _rows(number, size // (REVISIONS + number)):
            file.write(row)


trees.MAKERS.update({"image": _image, "empty": _empty, "source": _source, "dump": _dump, "mail": _mail})
REVISED: dict[str, Callable[[Path, int], None]] = {
    "source": _revise_source,
    "dump": _grow_dump,
    "mail": _revise_mail,
}
