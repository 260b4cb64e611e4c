"""Lines of sshd's authorized_keys: ours are found by their key, all others stay as they are."""

import binascii
import os
import re
import shlex
from collections.abc import Sequence

from strongroom.errors import CommandError
from strongroom.server import files
from strongroom.server.sshkeys import FIELDS, PublicKey
from strongroom.store.disk import make_folder

_MARK = b"strongroom-"  # begins the comment of our lines

# Options end at the first space outside of double quotes; \" is a quote inside (sshd(8)).
_OPTIONS = re.compile(rb'(?:[^\s"]|"(?:[^"\\]|\\.)*")+')


def entry(words: Sequence[str], folder: str, key: PublicKey, name: str) -> str:
    """The line that lets `key` run `words` in `folder`, and nothing else."""
    command = f"cd {shlex.quote(folder)} && exec {shlex.join(words)}"
    if any(not c.isprintable() or c in '\\"' for c in command):
        raise CommandError(
            f"A forced command cannot name {folder!r} or {words[0]!r} safely: "
            "use paths without quotes, backslashes and control characters."
        )
    return f'command="{command}",restrict {key.line} {_MARK.decode()}{name}'


def key_of(line: bytes) -> bytes | None:
    """The key blob of a line; None for comments and for what sshd would pass over."""
    line = line.strip()
    if not line or line.startswith(b"#"):
        return None
    words = line.split(None, 2)
    if words[0].decode("latin-1") not in FIELDS:
        options = _OPTIONS.match(line)
        if options is None:
            return None
        words = line[options.end() :].split(None, 2)
    if len(words) < 2 or words[0].decode("latin-1") not in FIELDS:
        return None
    try:
        return binascii.a2b_base64(words[1])
    except binascii.Error:
        return None


def install(path: str, line: str, name: str, key: PublicKey, *, replaces: PublicKey | None = None) -> bool:
    """Put the client's line in; whether that changed the file.

    `replaces` is the key whose line it takes the place of. Raises `CommandError` if the key has a line
    that is not this client's: sshd would take the first.
    """
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        _make_folder(folder)
    with files.locked(folder):
        before = files.read(path) or b""
        kept: list[bytes] = []
        placed = False
        for number, present in enumerate(_lines(before), start=1):
            if _is_of(present, name, key) or (replaces is not None and _is_of(present, name, replaces)):
                if not placed:
                    kept.append(line.encode())
                placed = True
            elif key_of(present) == key.blob:
                raise CommandError(
                    f"{path} has the key on line {number} already, for something else. A key that may do two "
                    "things may do both: remove that line, or make another key for this client."
                )
            else:
                kept.append(present)
        if not placed:
            kept.append(line.encode())
        return _write(path, before, kept)


def remove(path: str, name: str, key: PublicKey) -> bool:
    """Take the client's line out; whether there was one."""
    if not os.path.exists(path):
        return False
    with files.locked(os.path.dirname(os.path.realpath(path))):
        before = files.read(path) or b""
        lines = _lines(before)
        kept = [line for line in lines if not _is_of(line, name, key)]
        return len(kept) < len(lines) and _write(path, before, kept)


def _is_of(line: bytes, name: str, key: PublicKey) -> bool:
    return key_of(line) == key.blob and line.rstrip().endswith(b" " + _MARK + name.encode())


def _lines(text: bytes) -> list[bytes]:
    return text.removesuffix(b"\n").split(b"\n") if text else []


def _write(path: str, before: bytes, lines: list[bytes]) -> bool:
    after = b"\n".join([*lines, b""]) if lines else b""
    if after == before and os.path.exists(path) and os.stat(path).st_mode & 0o777 == 0o600:
        return False
    files.replace(path, after)
    return after != before


def _make_folder(folder: str) -> None:
    try:
        make_folder(folder, mode=0o700)
    except OSError as error:
        raise CommandError(f"{folder} cannot be made: {error.strerror}.") from error
