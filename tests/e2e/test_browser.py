"""`browse` in a real browser: headless Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from browsing import Site, fixtures
from program import Program, patterned

CHROMIUM = shutil.which("chromium")

# CI installs it: there its absence is a failure, not an excuse
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="chromium is not installed"
)

_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DATA = patterned(700_000)
HOSTILE = "<img src=x onerror=alert(1)>"


def fill(program: Program, src: Path) -> None:
    (src / "docs").mkdir()
    (src / "docs" / "letter.txt").write_text("dear all\n")
    (src / "data").write_bytes(DATA)
    (src / HOSTILE).write_text("<script>alert(1)</script>")
    (src / ("long" * 60)).write_text("x" * 400)
    (src / ("many words " * 20)).symlink_to("target/" * 40)
    (src / "evil.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    program("create", "::monday", "src").ok()
    (src / "docs" / "letter.txt").write_text("dear all,\n")
    program("create", "::tuesday", "src").ok()


program, site = fixtures(fill)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM or "/usr/bin/chromium", args=_QUIET)
        yield browser
        browser.close()


@contextmanager
def opened(chromium: Any, site: Site, **how: Any) -> Iterator[Any]:
    """A page, come in by the token; at the end nothing was blocked, refused or run."""
    context = chromium.new_context(**how)
    context.set_default_timeout(30_000)
    page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(f"{site.address}/?token={site.token}")
    yield page
    context.close()
    assert [one for one in told if "favicon" not in one and "status of 404" not in one] == []


def test_by_keyboard_alone_to_a_file_and_its_versions(chromium: Any, site: Site) -> None:
    with opened(chromium, site) as page:
        assert page.url == f"{site.address}/"  # the token has left the address

        def go(words: str) -> None:
            """Tab to the link, and press Enter."""
            for _ in range(60):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.textContent") == words:
                    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                    assert outline == "solid", words
                    with page.expect_navigation():
                        page.keyboard.press("Enter")
                    return
            raise AssertionError(words)

        for words in ("tuesday", "src", "docs", "letter.txt"):
            go(words)
        assert page.locator("pre").inner_text() == "dear all,\n"
        go("All versions")
        assert page.locator(".line > li").count() == 2


def test_a_form_takes_the_token_too(chromium: Any, site: Site) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site.address}/files/monday/")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Open").click()
    assert page.get_by_role("alert").inner_text() == "That is not the token."
    page.get_by_label("Token").fill(site.token)
    page.get_by_role("button", name="Open").click()
    assert page.get_by_role("heading", name="Archives").is_visible() and page.url == f"{site.address}/"
    context.close()


def test_search_comparison_and_download(chromium: Any, site: Site, tmp_path: Path) -> None:
    with opened(chromium, site) as page:
        page.get_by_role("button", name="Compare old and new").click()
        assert "content +10 B −9 B" in page.get_by_role("row", name="letter.txt").inner_text()
        page.get_by_role("searchbox").fill("dat")
        with page.expect_navigation():  # the page before has a status, too
            page.keyboard.press("Enter")
        said, found = page.get_by_role("status"), page.get_by_role("table")
        assert said.inner_text() == "1 path in 2 archives" and page.locator(".busy").is_hidden()
        assert said.bounding_box()["y"] < found.bounding_box()["y"]
        page.get_by_role("link", name="src/data").click()
        with page.expect_download() as waiting:
            page.get_by_role("link", name="Download").click()
        waiting.value.save_as(tmp_path / "data")
        assert (tmp_path / "data").read_bytes() == DATA


def test_hostile_names_and_contents_run_nothing(chromium: Any, site: Site) -> None:
    with opened(chromium, site) as page:
        page.goto(f"{site.address}/files/tuesday/src/")
        assert page.locator("main img").count() == 0
        page.get_by_role("link", name=HOSTILE, exact=True).click()
        assert page.locator("h1").inner_text() == HOSTILE
        assert page.locator("pre").inner_text() == "<script>alert(1)</script>"
        with page.expect_download():
            page.evaluate("location.href = '/download/tuesday/src/evil.svg'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_all_fits_and_can_be_read(chromium: Any, site: Site, scheme: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    with opened(chromium, site, color_scheme=scheme, **phone) as page:
        for place in (
            "/", "/files/tuesday/src/", f"/files/tuesday/src/{'long' * 60}", "/search?q=o",
            "/versions/src/docs/letter.txt", "/files/nothing",
        ):  # fmt: skip
            page.goto(site.address + place)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, place
            assert page.evaluate(_FAINT) == [], place
        page.goto(site.address)  # the heads of the columns do not fit: each choice says what it is
        labels = (
            "[...document.querySelectorAll('td.pick')].map(td => getComputedStyle(td, '::before').content)"
        )
        assert page.evaluate(labels) == ['"old"', '"new"'] * 2
        narrow = "[...document.querySelectorAll('td')].filter(td => td.scrollWidth > td.clientWidth).length"
        assert page.evaluate(narrow) == 0


@pytest.mark.parametrize("width", [1100, 360])
def test_a_long_name_stays_beside_its_sign(chromium: Any, site: Site, width: int) -> None:
    with opened(chromium, site, viewport={"width": width, "height": 800}) as page:
        for place, rows in (("/files/tuesday/src/", 6), ("/search?q=o", 4)):
            page.goto(site.address + place)
            assert page.evaluate(_BESIDE) == [True] * rows, place
        page.goto(f"{site.address}/files/tuesday/src/")  # an arrow stands in the line of what it points to
        assert page.evaluate("document.querySelector('small').getClientRects().length") == 1
        arrow, target = page.evaluate(_FIRST_LINES)
        assert arrow["top"] == target["top"]


# of each row, whether all lines of the name are right of its sign, and the first begins where that does
_BESIDE = """() => [...document.querySelectorAll('tbody tr')].map(row => {
  const sign = row.querySelector('.kind').getBoundingClientRect();
  const lines = [...row.querySelectorAll('td.name a bdi')].flatMap(one => [...one.getClientRects()]);
  return lines.every(line => line.left >= sign.right)
    && lines[0].top <= sign.top && lines[0].bottom >= sign.bottom;
})"""
_FIRST_LINES = """() => [...document.querySelector('small').childNodes].map(one => {
  const range = document.createRange();
  range.selectNodeContents(one);
  return range.getClientRects()[0];
})"""

# texts whose contrast with what is behind them is below 4.5:1 (WCAG 2.1, 1.4.3)
_FAINT = """() => {
  const parts = text => (text.match(/[0-9.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = one => {
    for (; one; one = one.parentElement) {
      const found = parts(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')].filter(one => {
    if (![...one.childNodes].some(inner => inner.nodeType === 3 && inner.data.trim())) return false;
    const [a, b] = [light(parts(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05) < 4.5;
  }).map(one => one.outerHTML.slice(0, 200));
}"""
