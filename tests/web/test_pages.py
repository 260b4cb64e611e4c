"""What people see of archives, over HTTP."""

import http.client
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from browsing import Site, browsing, fixtures, scene
from program import Program, clock_ahead, wait_until
from sshd import direct_rsh
from strongroom.errors import Damaged
from strongroom.web import library, pages, timepages
from strongroom.web.layout import crumbs
from strongroom.web.pages import natural


def fill(program: Program, src: Path) -> None:
    (src / "docs").mkdir()
    (src / "docs" / "Letter.txt").write_text("first\n")
    (src / "docs" / "old.txt").write_text("to be removed")
    (src / "pic.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (src / "bytes").write_bytes(bytes(range(256)))
    (src / "inner").symlink_to("docs/Letter.txt")
    (src / "outer").symlink_to("/etc/passwd")
    program("create", "--comment", "the beginning", "::monday", "src").ok()
    (src / "docs" / "Letter.txt").write_text("first\nsecond\n")
    (src / "docs" / "old.txt").unlink()
    program("create", "::tuesday", "src", before=clock_ahead).ok()


program, site = fixtures(fill)


def words(page: str) -> str:
    """What is to be read of it."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.partition("<main")[2])).split())


def test_the_first_page_lists_the_archives_newest_first(site: Site) -> None:
    page = site.get("/").text
    assert page.index(">tuesday<") < page.index(">monday<")
    assert "the beginning" in page and "2 archives of" in page


def test_from_the_archives_to_a_file_by_links(site: Site) -> None:
    place = "/"
    for name in ("monday", "src", "docs", "Letter.txt"):
        page = site.get(place).text
        (place,) = re.findall(rf'<a href="([^"]*)"><bdi>{name}</bdi></a>', page)
    page = site.get(place).text
    assert re.search(r"<pre[^>]*>first\n</pre>", page)
    assert "6 B (6 bytes)" in words(page)
    (link,) = re.findall(r'href="(/download/[^"]*)"', page)
    assert site.get(link).body == b"first\n"


def test_folders_are_sorted_as_asked(site: Site) -> None:
    def names(query: str) -> list[str]:
        page = site.get(f"/files/tuesday/src/{query}").text
        return re.findall(r'<td class="name signed">.*?<bdi>([^<]*)</bdi>', page)

    assert names("") == ["docs", "bytes", "inner", "outer", "pic.png"]
    assert names("?sort=size")[:2] == ["bytes", "pic.png"]
    assert names("?sort=nonsense") == names("")


def test_names_are_in_the_order_that_people_expect() -> None:
    names = [
        b"az", "Ära".encode(), "ärb".encode(), b"b", b"File-3", b"file.txt", b"file1", b"file2", b"File2b",
        b"file10", b"file10.5", b"file10.12", b"file1" + b"0" * 200, b"file" + b"9" * 201, b"Zebra", b"\xff",
    ]  # fmt: skip
    turned = names[::-1]
    assert sorted(turned, key=natural) == names
    assert natural(b"file02") == natural(b"File2")
    assert natural("é".encode()) == natural(b"e\xcc\x81") and natural("É".encode()) == natural("é".encode())


def test_numbers_in_names_and_case_count_as_people_read_them_across_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def numbered(program: Program, src: Path) -> None:
        for number in range(12):
            (src / f"{'fF'[number % 2]}ile{number}").write_text("x")
        (src / "Folder10").mkdir()
        (src / "folder9").mkdir()
        program("create", "::numbered", "src").ok()

    monkeypatch.setattr(pages, "PER_PAGE", 5)
    with scene(numbered) as program, browsing(program) as site:
        found = []
        for first in (0, 5, 10):
            page = site.get(f"/files/numbered/src/?from={first}").text
            found += re.findall(r'<td class="name signed">.*?<bdi>([^<]*)</bdi>', page)
        assert found == ["folder9", "Folder10", *(f"{'fF'[number % 2]}ile{number}" for number in range(12))]


def test_a_huge_folder_comes_in_pages(site: Site) -> None:
    page = site.get("/files/tuesday/src/?from=3").text
    assert re.findall(r'<td class="name signed">.*?<bdi>([^<]*)</bdi>', page) == ["outer", "pic.png"]
    assert '<a href="/files/tuesday/src?from=0" rel="prev">' in page


def test_behind_the_last_page_is_the_last_page(site: Site) -> None:
    page = site.get("/files/tuesday/src/?from=3000").text
    assert "This folder is empty" not in page and page.count("<bdi>pic.png</bdi>") == 1


def many(program: Program, src: Path) -> None:
    folder = src / "with space & 50%"
    folder.mkdir()
    for number in range(45):
        (folder / f"f{number:03}").write_text("x" * number)
    program("create", "::many", "src").ok()


def test_pages_of_a_huge_folder_have_links_above_and_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PER_PAGE", 10)
    with scene(many) as program, browsing(program) as site:
        here = "/files/many/src/with%20space%20%26%2050%25"
        page = site.get(f"{here}/?from=20").text
        assert f'href="{here}?from=30"' in page
        assert re.findall(r'from=(\d+)"[^>]*>(\w+)<', page) == 2 * [
            ("0", "First"), ("10", "Previous"), ("30", "Next"), ("40", "Last"),
        ]  # fmt: skip
        assert "21 to 30 of 45" in page and page.count("<bdi>f0") == 10
        ends = {"0": ["Next", "Last"], "30": ["First", "Previous", "Next"], "40": ["First", "Previous"]}
        for at, links in ends.items():
            page = site.get(f"{here}/?from={at}").text
            assert re.findall(r'from=\d+"[^>]*>(\w+)<', page) == 2 * links


def test_what_is_no_text_is_dumped_and_pictures_are_shown(site: Site) -> None:
    page = site.get("/files/tuesday/src/bytes").text
    assert "00000020  20 21 22" in page and "!&quot;#$%&amp;" in page
    page = site.get("/files/tuesday/src/pic.png").text
    assert '<img src="/picture/tuesday/src/pic.png" alt="pic.png">' in page
    got = site.get("/picture/tuesday/src/pic.png")
    assert got.headers["Content-Type"] == "image/png" and len(got.body) == 108
    assert site.get("/picture/tuesday/src/bytes").status == 404


def test_a_link_leads_where_the_archive_has_its_target(site: Site) -> None:
    assert 'href="/files/tuesday/src/docs/Letter.txt"' in site.get("/files/tuesday/src/inner").text
    page = site.get("/files/tuesday/src/outer").text
    assert "/etc/passwd" in page and 'href="/files/tuesday/etc' not in page


def test_versions_of_a_file_newest_first(site: Site) -> None:
    page = words(site.get("/versions/src/docs/Letter.txt").text)
    assert re.search(r"13 B .* In tuesday .* 6 B .* In monday", page)
    page = words(site.get("/versions/src/docs/old.txt").text)
    assert re.search(r"Gone in tuesday .* In monday", page)
    assert site.get("/versions/src/docs/nothing").status == 404


def test_every_page_has_a_way_on(site: Site) -> None:
    """Also for who came by a search, or to what is not there."""
    page = site.get("/versions/src/docs/Letter.txt").text
    (above,) = re.findall(r'<a href="(/versions/[^"]*docs/)"', page)
    assert "Versions of docs" in words(site.get(above).text)
    found = re.findall(r'type="radio" name="old" value="(\w+)"', site.get("/").text)
    comparison = f"/compare?old={found[1]}&new={found[0]}"
    for place in ("/search?q=letter", "/search?q=nowhere", comparison, "/files/nothing/", above):
        assert '<a href="/">' in site.get(place).text.partition("<main")[2], place
    assert "Nothing is called that in 2 archives." in words(site.get("/search?q=nowhere").text)


@pytest.mark.parametrize(
    ("typed", "paths"),
    [
        ("letter", {"src/docs/Letter.txt"}),
        ("*.TXT", {"src/docs/Letter.txt", "src/docs/old.txt"}),
        ("docs/l", {"src/docs/Letter.txt"}),
        ("[", set()),
        ("nowhere", set()),
    ],
)
def test_search_in_all_archives(site: Site, typed: str, paths: set[str]) -> None:
    page = site.get(f"/search?q={typed}").text
    assert set(re.findall(r'<td class="name signed">.*?<bdi>([^<]*)</bdi>', page)) == paths
    assert ("gone since" in page) == ("src/docs/old.txt" in paths)


def test_a_search_ends_in_time_and_says_so(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timepages, "SECONDS", -1)
    with browsing(program) as hasty:
        assert "0 paths within" in words(hasty.get("/search?q=x").text)


@contextmanager
def asked(site: Site, target: str) -> Iterator[http.client.HTTPResponse]:
    """An answer that is read while it comes."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request("GET", target, headers={"Cookie": site.cookie})
    with connection.getresponse() as answer:
        yield answer
    connection.close()


def read_until(answer: http.client.HTTPResponse, words: bytes) -> bytes:
    got = b""
    while words not in got:
        piece = answer.read1()
        assert piece, got
        got += piece
    return got


def test_what_is_found_is_seen_while_the_search_goes_on(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, go_on = timepages.find_in, program.root / "go on"

    def waiting(*args: Any) -> Iterator[Any]:
        for one in real(*args):
            yield one
            wait_until(go_on.exists)

    monkeypatch.setattr(timepages, "find_in", waiting)
    with browsing(program) as site, asked(site, "/search?q=.txt") as answer:
        got = read_until(answer, b"Letter.txt</bdi>")
        assert b"Looking in 2 archives" in got and b"old.txt" not in got and b"2 paths" not in got
        go_on.touch()
        assert b"old.txt" in (rest := answer.read()) and b"2 paths in 2 archives" in rest
        assert (got + rest).endswith(b"</html>")


def test_a_search_that_nobody_waits_for_ends(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = program.root / "ended"

    def endless(
        trees: Any, infos: Any, wanted: Any, matches: Callable[[bytes], bool], *_: Any
    ) -> Iterator[Any]:
        yield from ()
        try:
            while not matches(b"nothing"):
                time.sleep(0.01)
        finally:
            ended.touch()

    monkeypatch.setattr(timepages, "find_in", endless)
    monkeypatch.setattr(timepages, "SECONDS", 1000)
    with browsing(program) as site:
        with asked(site, "/search?q=x") as answer:
            read_until(answer, b"Looking in")
        wait_until(ended.exists)


def test_damage_in_the_middle_of_a_search_is_told_on_the_page(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timepages.find_in

    def broken(*args: Any) -> Iterator[Any]:
        yield next(real(*args))
        raise Damaged("a tree has rotted")

    monkeypatch.setattr(timepages, "find_in", broken)
    with browsing(program, code=1) as site:
        page = site.get("/search?q=.txt").text
        assert re.search(r"Letter\.txt .* This cannot be read: a tree has rotted", words(page))
        assert "1 path until something could not be read." in words(page) and page.count("</table>") == 1
        assert "a tree has rotted" in site.running.said()


def test_a_comparison_tells_what_came_went_and_changed(site: Site) -> None:
    page = site.get("/").text
    (new, old) = re.findall(r'type="radio" name="old" value="(\w+)"', page)
    found = words(site.get(f"/compare?old={old}&new={new}").text)
    assert re.search(r"src/docs/Letter\.txt content \+13 B −6 B", found)
    assert "src/docs/old.txt removed 13 B" in found
    assert "Nothing differs" in site.get(f"/compare?old={old}&new={old}").text
    for query in ("", "?old=x&new=y", f"?old={old}", f"?old={old}&new={'00' * 32}"):
        assert site.get(f"/compare{query}").status in (400, 404)


def test_one_archive_alone(program: Program) -> None:
    with browsing(program, "::monday") as alone:
        page = alone.get("/").text
        assert ">monday<" in page and ">tuesday<" not in page
        assert alone.get("/files/tuesday/").status == 404


def test_new_archives_appear_and_deleted_ones_go(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_NEWS_EVERY", 0)
    with browsing(program) as made:
        program("create", "::wednesday", "src/pic.png").ok()
        assert ">wednesday<" in made.get("/").text
        assert made.get("/files/wednesday/src/pic.png").status == 200
        program("delete", "::wednesday").ok()
        assert ">wednesday<" not in made.get("/").text
        assert made.get("/files/wednesday/src/pic.png").status == 404


def test_a_backup_key_cannot_look(program: Program) -> None:
    office = program.another("office", STRONGROOM_REPO=str(program.root / "second"))
    office("init", "--encryption=keyfile").ok()
    office("key", "add", "--no-passphrase", "--output", program.root / "k", "laptop").ok()
    sealed = office.another("sealed")
    sealed("key", "import", "::", program.root / "k").ok()
    with pytest.raises(AssertionError, match="backup key"), browsing(sealed):
        raise RuntimeError("it looks")


def test_over_ssh(program: Program) -> None:
    rsh = direct_rsh(program.root)
    remote = program.another("remote", STRONGROOM_RSH=rsh, STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK="yes")
    with browsing(remote, f"ssh://host{program.repo}") as far:
        assert far.get("/download/tuesday/src/docs/Letter.txt").body == b"first\nsecond\n"


# --- beginning and end ---


def test_a_port_in_use_and_no_address_are_told_in_a_sentence(program: Program, site: Site) -> None:
    said = program("browse", "--port", str(site.port)).sentence()
    assert said == f"Port {site.port} is in use: choose another with --port, or any free one with --port 0."
    assert "no address" in program("browse", "--listen", "no such host").err
    assert "nowhere" in program("browse", "::nowhere", "--port", "0").sentence()


def test_a_missing_extra_is_told_with_the_way_to_get_it(program: Program) -> None:
    def without() -> None:
        import sys

        for name in [name for name in sys.modules if name.startswith(("uvicorn", "strongroom.web"))]:
            del sys.modules[name]
        sys.modules["uvicorn"] = None  # type: ignore[assignment]

    said = program("browse", before=without).sentence()
    assert said == "browse needs uvicorn, which is not installed: run `pip install 'strongroom[web]'`."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_well(program: Program, number: int) -> None:
    with browsing(program) as made:
        made.running.signal(number)


def test_other_machines_are_let_in_with_a_warning(program: Program) -> None:
    with browsing(program, "--listen", "0.0.0.0", code=1) as made:
        assert made.get("/").status == 200
        said = made.running.said()
    assert "--listen 0.0.0.0 lets other machines in, and the token and all files travel unencrypted." in said


def test_the_way_to_a_very_deep_folder_stays_short() -> None:
    shown = str(crumbs([b"f%d" % number for number in range(5_000)]))
    assert len(shown) < 1_000_000 and shown.count("<a ") == 20
    assert "f9<" in shown and "f10<" not in shown and "f4989<" not in shown and "f4990<" in shown
    assert str(crumbs([b"f"] * 20)).count("<a ") == 20
