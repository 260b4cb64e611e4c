"""Files as they are, whole or in part; pictures to look at; folders as zip."""

import os
import re
import time
import zipfile
from collections.abc import Iterator
from urllib.parse import quote

from blake3 import blake3
from starlette.exceptions import HTTPException

from strongroom.archive.browsing import Folder, Node
from strongroom.archive.entries import Entry
from strongroom.archive.lookahead import Lookahead
from strongroom.archive.pieces import pieces
from strongroom.archive.tar_writing import TarWriter
from strongroom.web.asking import Answer, Ask
from strongroom.web.gate import CONTENT_POLICY
from strongroom.web.library import Library
from strongroom.web.markup import shown
from strongroom.web.pouring import Pipe, Poured

_PIECE = 256 * 1024
MOST_PICTURE = 32 * 1024 * 1024  # bytes

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
_MAGIC = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"BM....\0\0\0\0", re.DOTALL), "image/bmp"),
)


def file_entry(ask: Ask) -> Entry:
    """The regular file that is asked for. Raises `HTTPException`, and what `Library.node` raises."""
    node = ask.library.node(ask.parts)
    if not node.entry.is_regular:
        raise HTTPException(404, "This is no regular file: it has no content.")
    return node.entry


def download(ask: Ask) -> Answer:
    """A file to keep. Whatever it holds: no browser takes it for a page."""
    return send_file(ask, file_entry(ask))


def send_file(ask: Ask, entry: Entry) -> Answer:
    headers = _headers_of(entry.name) | {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": etag(entry),
    }
    first, last = _wanted(ask, entry)
    length = last - first
    headers["Content-Length"] = str(length)
    status = 200
    if (first, last) != (0, entry.size):
        status = 206
        headers["Content-Range"] = f"bytes {first}-{last - 1}/{entry.size}"
    content = ask.library.content(entry)

    def fill(pipe: Pipe) -> None:
        for at in range(first, last, _PIECE):
            pipe.write(content.read(at, min(_PIECE, last - at)))

    return Poured(fill, headers, status)


def _wanted(ask: Ask, entry: Entry) -> tuple[int, int]:
    """First byte, and the one after the last. Raises `HTTPException`."""
    text = ask.headers.get("range")
    condition = ask.headers.get("if-range", etag(entry))
    match = _RANGE.fullmatch(text.replace(" ", "")) if text is not None and condition == etag(entry) else None
    if match is None or not (match[1] or match[2]):  # several ranges, or none that we know: all of it
        return 0, entry.size
    if match[1]:
        first = int(match[1])
        last = min(int(match[2]) + 1, entry.size) if match[2] else entry.size
        if match[2] and int(match[2]) < first:
            return 0, entry.size
    else:
        first, last = max(0, entry.size - int(match[2])), entry.size
    if first >= last:
        raise HTTPException(416, headers={"Content-Range": f"bytes */{entry.size}"})
    return first, last


def etag(entry: Entry) -> str:
    return f'"{blake3(entry.content + repr((entry.size, entry.sizes)).encode()).hexdigest()[:32]}"'


def picture(ask: Ask) -> Answer:
    """An image that browsers show, known by its first bytes. Raises `HTTPException` for all else."""
    entry = file_entry(ask)
    kind = kind_of_picture(ask.library.content(entry).read(0, 32), entry.size)
    if kind is None:
        raise HTTPException(404, "This is no picture.")
    headers = {
        "Content-Type": kind,
        "Content-Length": str(entry.size),
        "Content-Security-Policy": CONTENT_POLICY,
    }
    return Poured(lambda pipe: _write_all(pipe, ask.library, entry), headers)


def kind_of_picture(head: bytes, size: int) -> str | None:
    """Never SVG: it is a page that can act."""
    if size > MOST_PICTURE:
        return None
    return next((kind for magic, kind in _MAGIC if magic.match(head)), None)


def _write_all(pipe: Pipe, library: Library, entry: Entry) -> None:
    content = library.content(entry)
    for at in range(0, entry.size, _PIECE):
        pipe.write(content.read(at, min(_PIECE, entry.size - at)))


def _headers_of(name: bytes, suffix: str = "") -> dict[str, str]:
    called = os.fsencode(shown(name)).decode("utf-8", "replace").replace("/", "_") + suffix
    plain = re.sub(r"[^\w .,()+@=-]", "_", called, flags=re.ASCII)
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(called, safe='')}",
        "Content-Security-Policy": CONTENT_POLICY,
    }


# --- folders ---


def _root(ask: Ask) -> Node:
    """What is asked for, which is in an archive. Raises FileNotFoundError, and as `Library.node` does."""
    if not ask.parts:
        raise FileNotFoundError
    return ask.library.node(ask.parts)


def folder_name(ask: Ask) -> bytes:
    """What a download of a folder is called: as it is itself, or as its archive."""
    return ask.parts[-1]


def walk(library: Library, node: Node, path: bytes) -> Iterator[tuple[bytes, Node]]:
    """A node and all below it, folders before what they hold. Raises as `Library.children` does."""
    stack = [(path, node)]
    while stack:
        place, one = stack.pop()
        yield place, one
        if isinstance(one, Folder):
            inner = library.children(one)
            stack += [(place + b"/" + name, inner[name]) for name in sorted(inner, reverse=True)]


def folder_headers(ask: Ask, kind: str, suffix: str) -> dict[str, str]:
    return _headers_of(folder_name(ask), suffix) | {"Content-Type": kind}


def tar_folder(ask: Ask) -> Answer:
    """With all that was archived: what `export-tar` writes."""
    node = _root(ask)

    def fill(pipe: Pipe) -> None:
        made = TarWriter(pipe, "PAX")
        firsts: dict[bytes, bytes] = {}
        files = _files(ask, node)
        for path, entry in files:
            first = path if entry.link is None else firsts.setdefault(entry.link, path)
            if first != path:
                made.add_link(path, entry, first)
            else:
                made.add(path, entry, pieces(entry, files.read) if entry.is_regular else ())
        made.finish()

    return Poured(fill, folder_headers(ask, "application/x-tar", ".tar"))


def zip_folder(ask: Ask) -> Answer:
    """Folders, regular files and links; names that zip cannot say are written with %XX."""
    node = _root(ask)

    def fill(pipe: Pipe) -> None:
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
            files = _files(ask, node)
            for path, entry in files:
                _add(made, path, entry, files)

    return Poured(fill, folder_headers(ask, "application/zip", ".zip"))


def _files(ask: Ask, node: Node) -> Lookahead:
    walked = walk(ask.library, node, folder_name(ask))
    return Lookahead(((path, one.entry) for path, one in walked), ask.library.chunks)


def _add(made: zipfile.ZipFile, path: bytes, entry: Entry, files: Lookahead) -> None:
    moment = time.localtime(min(max(entry.mtime // 10**9, 0), 1 << 32))[:6]
    when = min(max(moment, (1980, 1, 1, 0, 0, 0)), (2107, 12, 31, 23, 59, 58))
    info = zipfile.ZipInfo(_zip_name(path) + ("/" if entry.is_dir else ""), when)
    info.create_system = 3  # Unix: the mode counts
    info.external_attr = (entry.mode & 0o170777) << 16 | (0x10 if entry.is_dir else 0)
    info.compress_type = zipfile.ZIP_DEFLATED
    if entry.is_dir:
        made.writestr(info, b"")
    elif entry.target is not None:
        made.writestr(info, entry.target)
    elif entry.is_regular:
        info.file_size = entry.size
        with made.open(info, "w", force_zip64=entry.size >= zipfile.ZIP64_LIMIT // 2) as member:
            for piece in pieces(entry, files.read):
                member.write(piece)


def _zip_name(path: bytes) -> str:
    """Zip names are UTF-8, and a backslash in them is a folder on some systems."""
    return re.sub(
        "[\\\\\x00-\x1f\x7f\udc80-\udcff]|%(?=[0-9A-F]{2})",
        lambda match: f"%{ord(match[0]) & 0xFF:02X}",
        os.fsdecode(path),
    )
