"""WebDAV, class 1, read-only (RFC 4918): for systems that can mount a web folder, and have no FUSE.

Folders and regular files alone: WebDAV knows neither links nor devices. A symbolic link to a regular file of
the same archive is shown as that file. One to a folder is not: a program that copies everything would copy
the folder again, and go round for ever where the link leads upwards.
"""

import stat
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from html import escape

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from strongroom.archive.browsing import Folder, Node
from strongroom.archive.entries import Entry
from strongroom.web.asking import Answer, Ask, Handler
from strongroom.web.downloads import etag, send_file
from strongroom.web.markup import shown, url
from strongroom.web.pouring import Pipe, Poured

ALLOW = "OPTIONS, PROPFIND, GET, HEAD"
_NAMESPACE = "{DAV:}"
_XML = {"Content-Type": 'application/xml; charset="utf-8"'}
_FINITE = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>\n'
)


def options(ask: Ask) -> Answer:
    return Response(status_code=200, headers={"DAV": "1", "Allow": ALLOW, "MS-Author-Via": "DAV"})


def get(ask: Ask) -> Answer:
    node = ask.library.node(ask.parts)
    if isinstance(node, Folder):
        return Response("A folder: ask for it by PROPFIND.\n", media_type="text/plain")
    entry = _shown_entry(ask, ask.parts, node)
    if entry is None:
        raise HTTPException(404)
    return send_file(ask, entry)


def propfind(ask: Ask) -> Answer:
    """Depth 0 and 1. Raises as handlers do."""
    depth = ask.headers.get("depth", "infinity").strip().lower()
    if depth == "infinity":
        return Response(_FINITE, 403, _XML)
    if depth not in ("0", "1"):
        raise HTTPException(400, "Depth is 0 or 1.")
    wanted = _wanted(ask.body)
    node = ask.library.node(ask.parts)
    own = _shown_entry(ask, ask.parts, node)
    if own is None:
        raise HTTPException(404)
    inner = ask.library.children(node) if depth == "1" and isinstance(node, Folder) else {}

    def fill(pipe: Pipe) -> None:
        pipe.write(b'<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">\n')
        here = url("dav", *ask.parts)
        pipe.write(_response(here, ask.parts[-1] if ask.parts else b"archives", own, wanted).encode())
        for name, one in inner.items():
            entry = _shown_entry(ask, (*ask.parts, name), one)
            if entry is not None:
                pipe.write(_response(url(here.strip("/"), name), name, entry, wanted).encode())
        pipe.write(b"</D:multistatus>\n")

    return Poured(fill, _XML, 207)


METHODS: dict[str, Handler] = {"OPTIONS": options, "PROPFIND": propfind, "GET": get, "HEAD": get}


def _shown_entry(ask: Ask, parts: tuple[bytes, ...], node: Node) -> Entry | None:
    """None for what is not shown. Raises what `Library.followed` raises."""
    if isinstance(node, Folder) or node.entry.is_regular:
        return node.entry
    target = ask.library.followed(parts) if node.entry.target is not None else None
    if target is None or not target.entry.is_regular:
        return None
    return msgspec.structs.replace(target.entry, name=parts[-1])


def _wanted(body: bytes) -> list[str] | None:
    """The names of the properties that are asked for; None is all of them. Raises `HTTPException`."""
    if not body.strip():
        return None
    if b"<!" in body.replace(b"<!--", b""):
        raise HTTPException(400, "No document type is needed here.")
    try:
        root = ET.fromstring(body)  # noqa: S314  # entities need a document type
    except ET.ParseError:
        raise HTTPException(400, "The request is no XML.") from None
    if root.tag != _NAMESPACE + "propfind":
        raise HTTPException(400, "The request is no propfind.")
    properties = root.find(_NAMESPACE + "prop")
    if properties is not None:
        return [one.tag for one in properties]
    if root.find(_NAMESPACE + "propname") is not None:
        return []
    return None


def _response(place: str, name: bytes, entry: Entry, wanted: list[str] | None) -> str:
    have = dict(_properties(name, entry))
    lacking: list[str] = []
    if wanted == []:  # their names alone
        found = dict.fromkeys(have, "")
    elif wanted is None:
        found = have
    else:
        names = [tag.removeprefix(_NAMESPACE) if tag.startswith(_NAMESPACE) else tag for tag in wanted]
        found = {one: have[one] for one in names if one in have}
        lacking = [one for one in names if one not in have]
    href = place + ("/" if stat.S_ISDIR(entry.mode) else "")
    inner = "".join(_element(one, value) for one, value in found.items())
    text = f"<D:response><D:href>{escape(href)}</D:href>"
    if found or not lacking:
        text += f"<D:propstat><D:prop>{inner}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
    if lacking:
        none = "".join(_element(one, "") for one in lacking)
        text += f"<D:propstat><D:prop>{none}</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"
    return text + "</D:response>\n"


def _element(name: str, value: str) -> str:
    if not name.startswith("{"):
        return f"<D:{name}>{value}</D:{name}>" if value else f"<D:{name}/>"
    space, _, local = name[1:].partition("}")
    return f'<X:{local} xmlns:X="{escape(space)}"/>'


def _properties(name: bytes, entry: Entry) -> Iterator[tuple[str, str]]:
    yield "displayname", escape(shown(name))
    yield "resourcetype", "<D:collection/>" if entry.is_dir else ""
    moment = _moment(entry.mtime)
    yield "getlastmodified", format_datetime(moment, usegmt=True)
    if entry.birthtime is not None:
        yield "creationdate", f"{_moment(entry.birthtime):%Y-%m-%dT%H:%M:%SZ}"
    if entry.is_regular:
        yield "getcontentlength", str(entry.size)
        yield "getcontenttype", "application/octet-stream"
        yield "getetag", escape(etag(entry))
    yield "supportedlock", ""


def _moment(ns: int) -> datetime:
    """HTTP's dates have four digits for the year."""
    return datetime.fromtimestamp(min(max(ns // 10**9, 0), 253402300799), UTC)
