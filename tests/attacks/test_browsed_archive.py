"""Whoever wrote an archive, or waits on the same machine or in the browser, gains nothing by `browse`."""

import base64
import os
import re
import socket
from pathlib import Path

import pytest

from browsing import Site, fixtures
from program import Program
from strongroom.web.gate import ALWAYS, CONTENT_POLICY

SCRIPT = b"<script>alert(1)</script>"
PAGES = (
    "/", "/files/a/", "/files/a/src/", "/files/a/src/file", "/files/nowhere", "/versions/src/file",
    "/search?q=file", "/compare", "/style.css", "/download/a/src/file", "/download/a/src/evil.html",
    "/picture/a/src/pic.png", "/zip/a/src", "/tar/a/src", "/nothing", "/%ff", "/..", "/favicon.ico",
)  # fmt: skip


def fill(program: Program, src: Path) -> None:
    (src / "file").write_text("fine")
    (src / "evil.html").write_bytes(b"<html>" + SCRIPT)
    (src / "evil.svg").write_bytes(b'<svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT + b"</svg>")
    (src / "evil.png").write_bytes(b"<html>" + SCRIPT)
    (src / "pic.png").write_bytes(b"\x89PNG\r\n\x1a\n" + SCRIPT)
    (src / 'quote" onmouseover="alert(1)').write_bytes(b"x")
    (src / "<img src=x onerror=alert(1)>").write_bytes(b"x")
    (src / "&lt;b&gt;").write_bytes(b"x")
    (src / "turned \u202egpj.exe").write_bytes("text \u202eturned\u2066 \x1b[31m".encode())
    Path(os.fsdecode(os.fsencode(src) + b"/bytes \xff\x85\r\n")).write_bytes(b"x")
    (src / "link").symlink_to('javascript:alert(1)"<script>')
    (src / "out").symlink_to("../../../../etc/passwd")
    (program.cwd / "secret").write_text("of the live system")

    def hostile_host() -> None:
        socket.gethostname = lambda: "<script>alert(1)</script>"

    program("create", "--comment", "<script>alert(1)</script>", "::a", "src", before=hostile_host).ok()
    program("create", "::<script>alert(1)<script>", "src/file", before=hostile_host).ok()


program, site = fixtures(fill)

# --- who comes in ---


@pytest.mark.parametrize(
    "target", [*PAGES, "/dav/", "/dav/a/src/file", "/?token=", "/?token=x", "/?token=%ff"]
)
def test_without_the_token_nothing_is_shown(site: Site, target: str) -> None:
    for headers in (
        {},
        {"Cookie": f"strongroom-{site.port}="},
        {"Cookie": f"strongroom-{site.port}={site.token}"},  # the cookie is another secret
        {"Cookie": site.cookie[:-1]},
        {"Authorization": "Basic " + base64.b64encode(b"a:wrong").decode()},
        {"Authorization": "Basic \xff"},
        {"Authorization": f"Bearer {site.token}"},
    ):
        got = site.get(target, known=False, **headers)
        public = target == "/style.css" or (got.status == 404 and target == "/..")
        assert public or got.status in (401, 403), headers
        assert b"fine" not in got.body and b"src" not in got.body.replace(b'src="', b"")


def test_the_token_gives_a_cookie_for_this_site_alone_and_leaves_the_address(site: Site) -> None:
    got = site.get(f"/?token={site.token}", known=False)
    assert got.status == 303 and got.headers["Location"] == "/"
    words = got.headers["Set-Cookie"].lower().split("; ")
    assert {"httponly", "samesite=strict", "path=/"} <= set(words)
    assert site.token not in got.headers["Set-Cookie"]
    assert len(site.token) >= 43  # 256 bits


def test_the_token_of_webdav_does_not_open_pages_nor_the_cookie_webdav(site: Site) -> None:
    assert site.dav("/files/a/src/file").status == 401
    got = site.get("/dav/a/src/file")
    assert got.status == 401 and got.headers["WWW-Authenticate"] == 'Basic realm="strongroom"'


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.2", "localhost.", "", "[::1]:x",
     "localhost:1:2", "user@localhost", "0.0.0.0"],
)  # fmt: skip
def test_a_page_whose_name_was_made_to_lead_here_gets_nothing(site: Site, host: str) -> None:
    for target in ("/", f"/?token={site.token}", "/dav/", "/style.css"):
        got = site.get(target, Host=host)
        assert got.status in (400, 421) and "Set-Cookie" not in got.headers, host
    assert site.get("/", Host=f"localhost:{site.port}").status == 200


def test_only_this_machine_is_listened_to(site: Site) -> None:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = {line.split()[1] for line in lines if line.split()[3] == "0A"}
    assert [one for one in listening if one.endswith(f":{site.port:04X}")] == [f"0100007F:{site.port:04X}"]


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "MKCOL", "MOVE", "LOCK", "PROPPATCH", "TRACE"]
)
def test_nothing_can_be_changed(site: Site, program: Program, method: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in program.repo.rglob("*")}
    for ask, target in ((site.get, "/files/a/src/file"), (site.dav, "/dav/a/src/file")):
        got = ask(target, method, b"x")
        assert got.status == 405 and "GET" in got.headers["Allow"]
    assert {path: path.stat().st_mtime_ns for path in program.repo.rglob("*")} == before


# --- what an archive may do ---


def test_every_answer_has_the_strict_headers(site: Site) -> None:
    targets = [(site.get(target), target) for target in PAGES]
    targets += [(site.get(target, known=False), target) for target in PAGES]
    targets += [(site.get("/", Host="evil.example"), "host"), (site.get("/", "PUT"), "put")]
    targets += [
        (site.dav("/dav/", method, Depth="1"), method) for method in ("OPTIONS", "PROPFIND", "GET", "LOCK")
    ]
    targets += [(site.get("/download/a/src/file", Range="bytes=99-"), "range")]
    for got, target in targets:
        for name, value in ALWAYS.items():
            assert got.headers.get_all(name) in ([value], [CONTENT_POLICY]), (target, name)
        assert got.headers["Server"] is None and "script" not in got.headers["Content-Security-Policy"]


def test_content_is_never_a_page_of_this_server(site: Site) -> None:
    for name in ("evil.html", "evil.svg", "evil.png", "file"):
        for got in (site.get(f"/download/a/src/{name}"), site.dav(f"/dav/a/src/{name}")):
            assert got.status == 200
            assert got.headers["Content-Type"] == "application/octet-stream"
            assert got.headers["Content-Disposition"].startswith("attachment")
            assert got.headers["Content-Security-Policy"] == CONTENT_POLICY
        assert site.get(f"/picture/a/src/{name}").status == 404
        assert b"<script" not in site.get(f"/files/a/src/{name}").body
    got = site.get("/picture/a/src/pic.png")
    assert got.headers["Content-Type"] == "image/png" and "sandbox" in got.headers["Content-Security-Policy"]


def test_names_are_text_and_nothing_else(site: Site) -> None:
    front = site.get("/").text
    (old, *_), (new, *_) = (re.findall(rf'name="{side}" value="(\w+)"', front) for side in ("old", "new"))
    hrefs = re.findall(r'href="(/files/[^"]*)"', front + site.get("/files/a/src/").text)
    assert len(hrefs) > 12
    pages = [
        *hrefs,
        "/search?q=" + "%3Cscript%3E",
        "/search?q=src/",
        "/versions/src",
        f"/compare?old={new}&new={old}",
    ]
    for target in pages:
        got = site.get(target)
        assert got.status == 200, target
        tags = {tag.lower() for tag in re.findall(r"<\s*/?\s*([a-zA-Z]+)", got.text)}
        assert not tags & {"script", "b", "iframe", "object", "style"}, target
        assert set(re.findall(r"<img [^>]*>", got.text)) <= {
            '<img src="/picture/a/src/pic.png" alt="pic.png">'
        }
        assert not re.findall(r"\son\w+=", re.sub(r'"[^"]*"', '""', re.sub(r">[^<]*<", "><", got.text))), (
            target
        )
        assert "javascript:" not in "".join(re.findall(r'(?:href|src|action)="([^"]*)"', got.text)), target
        assert not set(got.text) & set("\u202e\u2066\x1b\r\x85\ufffd"), target
    listing = site.get("/files/a/src/").text
    assert "turned \\u202egpj.exe" in listing and "bytes \\xff\\x85\\r\\n" in listing
    assert "&amp;lt;b&amp;gt;" in listing and "&lt;img src=x onerror" in listing


@pytest.mark.parametrize("way", ["files", "download", "zip", "tar", "picture", "versions", "dav"])
@pytest.mark.parametrize(
    "path",
    [
        "a/src/..%2f..%2fsecret",
        "a/..%2f..",
        "..%2f..%2fetc%2fpasswd",
        "a/src/%2e%2e/%2e%2e/secret",
        "a/src/../../secret",
        "a/src%2ffile",
        "a/src/file%00",
        "a/src/out/x",
        "a/src/out/../../secret",
        "%2fetc/passwd",
        "a/src/./file%2f",
    ],
)
def test_paths_lead_nowhere_else(site: Site, way: str, path: str) -> None:
    got = (site.dav if way == "dav" else site.get)(f"/{way}/{path}")
    assert got.status == 404 and b"live system" not in got.body and b"root:" not in got.body


def test_requests_that_make_no_sense_end_in_a_sentence(site: Site) -> None:
    for target in (
        "/?" + "&".join(f"a{number}=1" for number in range(50)),
        "/search?q=" + "%ff" * 900,
        "/?from=-1&from=x",
        "/files/a/src/?sort=%00&from=99999999999999999999",
        "/files/" + "a/" * 9000,
        "//",
        "/a//b",
    ):
        got = site.get(target)
        assert got.status in (200, 400, 404), target
        assert b"Traceback" not in got.body
    assert site.get("/").status == 200
