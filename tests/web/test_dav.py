"""Archives as WebDAV, for programs that mount web folders."""

import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from browsing import Got, Site, fixtures
from program import Program

D = "{DAV:}"


def fill(program: Program, src: Path) -> None:
    (src / "file <&>").write_bytes(b"content")
    (src / "folder").mkdir()
    (src / "link").symlink_to("missing")
    (src / "folder" / "up").symlink_to("..")
    (src / "folder" / "far").symlink_to("/src/folder/.././folder//again")
    (src / "folder" / "again").symlink_to("up/file <&>")
    (src / "folder" / "out").symlink_to("../../../../src/file <&>")
    (src / "folder" / "outside").symlink_to("/etc/passwd")
    (src / "folder" / "below-file").symlink_to("../file <&>/x")
    (src / "folder" / "round").symlink_to("dnuor")
    (src / "folder" / "dnuor").symlink_to("round")
    Path(str(src) + "/control\x01\udcff").write_bytes(b"")
    program("create", "::a b", "src").ok()


program, site = fixtures(fill)


def listed(got: Got) -> dict[bytes, dict[str, str]]:
    """Of each path the properties that it has."""
    assert got.status == 207 and got.headers["Content-Type"].startswith("application/xml")
    found = {}
    for response in ET.fromstring(got.body):
        href = response.findtext(D + "href")
        assert href is not None
        properties = {}
        for part in response.findall(D + "propstat"):
            if part.findtext(D + "status") == "HTTP/1.1 200 OK":
                for one in part.findall(f"{D}prop/*"):
                    properties[one.tag.removeprefix(D)] = one.text or "".join(inner.tag for inner in one)
        found[unquote_to_bytes(href)] = properties
    return found


def test_walking_down_by_propfind(site: Site) -> None:
    top = listed(site.dav("/dav/", "PROPFIND", Depth="1"))
    assert set(top) == {b"/dav/", b"/dav/a b/"}
    assert top[b"/dav/a b/"]["resourcetype"] == D + "collection"
    inner = listed(site.dav("/dav/a%20b/src", "PROPFIND", Depth="1"))
    base = b"/dav/a b/src/"
    assert set(inner) == {base, base + b"file <&>", base + b"folder/", base + b"control\x01\xff"}
    file = inner[base + b"file <&>"]
    assert (
        file["getcontentlength"] == "7"
        and file["resourcetype"] == ""
        and file["getlastmodified"].endswith("GMT")
    )
    assert inner[base + b"control\x01\xff"]["displayname"] == "control\\x01\\xff"
    alone = listed(site.dav("/dav/a%20b/src/file%20%3C%26%3E", "PROPFIND", Depth="0"))
    assert alone == {base + b"file <&>": file}


def test_only_what_is_asked_for(site: Site) -> None:
    body = (
        b'<?xml version="1.0"?><propfind xmlns="DAV:" xmlns:z="urn:z">'
        b"<prop><getcontentlength/><z:unknown/></prop></propfind>"
    )
    got = site.dav("/dav/a%20b/src/file%20%3C%26%3E", "PROPFIND", body, Depth="0")
    assert listed(got) == {b"/dav/a b/src/file <&>": {"getcontentlength": "7"}}
    (missing,) = ET.fromstring(got.body).findall(f"{D}response/{D}propstat/{D}prop/{{urn:z}}unknown")
    assert missing.text is None and b"404 Not Found" in got.body
    names = site.dav("/dav/", "PROPFIND", b'<propfind xmlns="DAV:"><propname/></propfind>', Depth="0")
    assert set(listed(names)[b"/dav/"].values()) == {""}


@pytest.mark.parametrize(
    ("body", "depth", "status"),
    [
        (b"", "infinity", 403),
        (b"", "2", 400),
        (b"no xml", "0", 400),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><propfind xmlns="DAV:">&b;</propfind>', "0", 400),
        (b'<other xmlns="DAV:"/>', "0", 400),
        (b" " * 70_000, "0", 413),
    ],
)
def test_requests_that_are_refused(site: Site, body: bytes, depth: str, status: int) -> None:
    assert site.dav("/dav/", "PROPFIND", body, Depth=depth).status == status


def test_reading_a_file_and_a_part_of_it(site: Site) -> None:
    assert site.dav("/dav/a%20b/src/file%20%3C%26%3E").body == b"content"
    assert site.dav("/dav/a%20b/src/file%20%3C%26%3E", Range="bytes=3-").body == b"tent"
    assert site.dav("/dav/a%20b/src/file%20%3C%26%3E", "HEAD").headers["Content-Length"] == "7"
    for path in ("link", "nothing", "file%20%3C%26%3E/inside"):
        assert site.dav(f"/dav/a%20b/src/{path}").status == 404
        assert site.dav(f"/dav/a%20b/src/{path}", "PROPFIND", Depth="0").status == 404


def test_a_link_to_a_file_of_the_archive_is_that_file(site: Site) -> None:
    """Never what it leads to on this machine, and never a folder: that could be one above it."""
    base = "/dav/a%20b/src/folder/"
    inner = listed(site.dav(base, "PROPFIND", Depth="1"))
    assert {path.rpartition(b"/")[2] for path in inner} == {b"", b"far", b"again", b"out"}
    for name in ("far", "again", "out"):
        assert site.dav(base + name).body == b"content"
        alone = listed(site.dav(base + name, "PROPFIND", Depth="0"))
        assert alone == {
            f"/dav/a b/src/folder/{name}".encode(): inner[f"/dav/a b/src/folder/{name}".encode()]
        }
        ((_, properties),) = alone.items()
        assert properties["displayname"] == name and properties["getcontentlength"] == "7"
    for name in ("up", "up/file%20%3C%26%3E", "outside", "below-file", "round"):
        assert site.dav(base + name).status == site.dav(base + name, "PROPFIND", Depth="0").status == 404


def test_what_it_says_it_can(site: Site) -> None:
    got = site.dav("/dav/", "OPTIONS")
    assert got.headers["DAV"] == "1" and got.headers["Allow"] == "OPTIONS, PROPFIND, GET, HEAD"
