"""`strongroom debug`: Borg's commands for those who look for a bug, as far as they mean something here."""

import json
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from strongroom.cli import argument_types as types
from strongroom.cli import item_format, reports
from strongroom.cli.arguments import ARCHIVE, REPOSITORY, Parser
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.cli.session import Session
    from strongroom.repository.repository import Repository

DESCRIPTION = "Look below the surface, for those who search for a bug."

EPILOG = """
PATH is the file that is written, - for standard output. What lies in a repository, byte for byte, is
specified in docs/format.md. Of Borg's commands that change or dump objects some are errors here.

examples:
    strongroom debug info
    strongroom debug dump-archive /mnt/backup::monday archive.json
    strongroom debug dump-archive-items /mnt/backup::monday
    strongroom debug dump-manifest /mnt/backup log.json
    strongroom debug id-hash /mnt/backup file
    strongroom debug get-obj /mnt/backup ID chunk
    strongroom debug convert-profile strongroom.prof profile.pstats
    strongroom debug refcount-obj /mnt/backup ID
    strongroom debug search-repo-objs /mnt/backup str:words
    strongroom debug dump-repo-objs /mnt/backup
    strongroom debug dump-hints /mnt/backup hints
    strongroom debug put-obj /mnt/backup ID file
    strongroom debug delete-obj /mnt/backup ID
"""

_THROUGH_THE_LOG = "Nothing enters or leaves a repository but through its signed log: {}."
REFUSED = {
    "put-obj": _THROUGH_THE_LOG.format('use "strongroom create"'),
    "delete-obj": _THROUGH_THE_LOG.format('use "strongroom delete", then "strongroom compact"'),
    "dump-hints": 'A repository has no hints. "strongroom check" tells whether it is sound.',
    "dump-repo-objs": "The objects of a repository are files: docs/format.md names and specifies them.",
    "search-repo-objs": (
        'Objects are sealed, and cannot be searched. "strongroom find" searches by name and by content.'
    ),
    "refcount-obj": '"strongroom find --same-as FILE" names the archives that hold the content of a file.',
}
_ARGUMENTS: dict[str, tuple[tuple[str, str | None], ...]] = {
    "convert-profile": (("INPUT", None), ("OUTPUT", None)),
    "delete-obj": (("IDs", "+"),),
    "dump-archive": (("PATH", None),),
    "dump-hints": (("PATH", None),),
    "dump-manifest": (("PATH", None),),
    "get-obj": (("ID", None), ("PATH", None)),
    "id-hash": (("PATH", None),),
    "put-obj": (("ID", None), ("PATH", None)),
    "refcount-obj": (("IDs", "+"),),
    "search-repo-objs": (("WANTED", None),),
}

_ABOUT = {
    "ID": "64 digits from 0 to f",
    "IDs": "64 digits from 0 to f each",
    "INPUT": "profile to read",
    "OUTPUT": "file to write",
    "PATH": "file",
    "WANTED": "what Borg would search for",
}


def define(parser: Parser) -> None:
    name = _name(parser.get_default("command"))
    if name in {"dump-archive", "dump-archive-items"}:
        parser.location(ARCHIVE, "archive to dump")
    elif name not in {"info", "convert-profile"}:
        parser.location(REPOSITORY, "repository to look into", required=True)
    for metavar, nargs in _ARGUMENTS.get(name, ()):
        parser.add_argument(
            metavar.lower(), metavar=metavar, type=types.path, nargs=nargs, help=_ABOUT[metavar]
        )
    if name == "dump-repo-objs":
        parser.add_argument("--ghost", action="store_true", help="accepted for compatibility")
        for flag in ("--segment", "--offset"):
            parser.add_argument(flag, metavar=flag[2:].upper()[:3], type=types.natural, help="accepted, too")


def run(session: "Session") -> None:
    args = session.args
    name = _name(args.command)
    if name in REFUSED:
        raise CommandError(REFUSED[name])
    if name == "info":
        session.output.write(_about_this_machine())
    elif name == "convert-profile":
        _copy_profile(args.input, args.output)
    else:
        _DOES[name](session)


def _name(command: object) -> str:
    return str(getattr(command, "name", "")).rpartition(" ")[2]


def _about_this_machine() -> str:
    import platform
    import shutil
    from importlib.metadata import version

    from strongroom import __version__

    lines = [
        f"Platform: {platform.platform()}",
        f"strongroom: {__version__}  Python: {platform.python_implementation()} {platform.python_version()}",
        "Libraries: "
        + ", ".join(f"{one} {version(one)}" for one in ("blake3", "cryptography", "lmdb", "zstandard")),
        f"fuse: {shutil.which('fusermount3') or shutil.which('fusermount') or 'none'}",
        f"PID: {os.getpid()}  CWD: {os.getcwd()}",
        f"sys.argv: {sys.argv!r}",
        f"SSH_ORIGINAL_COMMAND: {os.environ.get('SSH_ORIGINAL_COMMAND')!r}",
    ]
    return "\n".join(lines) + "\n"


def _copy_profile(source: str, target: str) -> None:
    with open(source, "rb") as file:
        data = file.read()
    with open(target, "wb") as file:
        file.write(data)


def _dump_archive(session: "Session") -> None:
    from strongroom.commands.listing import find_archive
    from strongroom.commands.opening import Need

    with session.open(Need.READ) as repository:
        record = reports.archive_record(find_archive(repository, session.archive))
        lines = [json.dumps({"archive": record}, sort_keys=True) + "\n", *_items(session, repository)]
    _write(session, "".join(lines).encode())


def _dump_items(session: "Session") -> None:
    from strongroom.commands.opening import Need

    with session.open(Need.READ) as repository:
        for line in _items(session, repository):
            session.output.write(line)


def _items(session: "Session", repository: "Repository") -> "Iterator[str]":
    from strongroom.cli.contents import RepositoryContents
    from strongroom.commands.listing import find_archive, list_entries

    archive = find_archive(repository, session.archive)
    formatter = item_format.ItemFormatter(None, archive, RepositoryContents(repository, archive))
    for path, entry in list_entries(repository, archive, session.patterns.for_reading([])):
        yield formatter.json_line(path, entry)


def _dump_log(session: "Session") -> None:
    from strongroom.commands.opening import Need
    from strongroom.repository import records
    from strongroom.store import stamp

    lines = []
    with session.open(Need.STRUCTURE) as repository:
        for seq in range(1, repository.state.head.seq + 1):
            blob, arrived = stamp.unstamp(repository.store.get(records.name(seq)))
            record = _plain(records.decode(blob, seq)[0])
            lines.append(json.dumps({"arrived": arrived, "record": record}, sort_keys=True) + "\n")
    _write(session, "".join(lines).encode())


def _plain(value: object) -> object:
    """What a record holds, as JSON: ids in hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _id_of_file(session: "Session") -> None:
    from strongroom.commands.opening import Need

    with open(session.args.path, "rb") as file, session.open(Need.ANY) as repository:
        session.output.write(repository.chunk_hasher()(file.read()).hex() + "\n")


def _get_chunk(session: "Session") -> None:
    from strongroom.commands.opening import Need
    from strongroom.ids import ID_SIZE, ChunkId

    try:
        chunk = ChunkId(bytes.fromhex(session.args.id))
    except ValueError:
        chunk = ChunkId(b"")
    if len(chunk) != ID_SIZE:
        raise CommandError(f'"{session.args.id}" is no id of a chunk: 64 digits from 0 to f are expected.')
    with session.open(Need.READ) as repository:
        repository.load_index()
        _write(session, bytes(repository.chunk_reader().read(chunk)))


def _write(session: "Session", data: bytes) -> None:
    if session.args.path == "-":
        session.output.write_bytes(data)
        return
    with open(session.args.path, "wb") as file:
        file.write(data)


_DOES = {
    "dump-archive": _dump_archive,
    "dump-archive-items": _dump_items,
    "dump-manifest": _dump_log,
    "id-hash": _id_of_file,
    "get-obj": _get_chunk,
}
