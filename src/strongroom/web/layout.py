"""What all pages have around them, and the words in which they tell sizes, times and kinds."""

import stat
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from starlette.responses import HTMLResponse

from strongroom.archive.entries import Entry
from strongroom.web.markup import Html, Inner, element, joined, shown, url
from strongroom.web.pouring import ClientGone, Pipe, Poured

_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")


_GAP = Html("<!-- -->")  # no text holds it: texts are escaped


def page(title: str, *body: Inner, status: int = 200, find: str = "", inside: bool = True) -> HTMLResponse:
    """`find` is what the search field holds; `inside` is False for who has not come in yet."""
    return HTMLResponse(_whole(title, body, find, inside=inside), status)


class Leaf:
    """A page whose end is not known yet: what is written on it is seen at once."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def write(self, *inner: Inner) -> None:
        """Raises `ClientGone`."""
        self._pipe.write(joined(inner).encode())
        self._pipe.flush()

    def check(self) -> None:
        """Raises `ClientGone` as soon as nobody reads any more."""
        if self._pipe.is_closed:
            raise ClientGone

    def table(self, heads: Sequence[Inner], rows: Iterable[Html], class_: str) -> int:
        """As `table`, row by row; nothing if there are none. Returns how many. Raises what `rows` raises."""
        opening, _, closing = table(heads, [_GAP], class_).partition(_GAP)
        number = 0
        try:
            for number, row in enumerate(rows, 1):
                self.write(Html(opening) if number == 1 else None, row)
        finally:
            if number and not self._pipe.is_closed:
                self.write(Html(closing))
        return number


def poured(title: str, *body: Inner, fill: Callable[[Leaf], None], find: str = "") -> Poured:
    """`body` is sent before `fill` begins, which writes the rest, the last of it as `told`."""

    def write(pipe: Pipe) -> None:
        before, _, after = _whole(title, [*body, element("div", _GAP, class_="poured")], find).partition(_GAP)
        pipe.write(before.encode())
        pipe.flush()
        fill(Leaf(pipe))
        pipe.write(after.encode())

    return Poured(write, {"Content-Type": "text/html; charset=utf-8"})


def busy(words: str) -> Html:
    """To be seen until something is `told`."""
    return element("p", words, class_="note busy")


def told(words: str, *, bad: bool = False) -> Html:
    """What came out in the end: shown above all that was poured before."""
    return element("p", words, class_="warn told" if bad else "note told", role="alert" if bad else "status")


def _whole(title: str, body: Sequence[Inner], find: str = "", *, inside: bool = True) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} – strongroom"),
        element("link", rel="stylesheet", href="/style.css"),
    )
    whole = element(
        "html",
        head,
        element(
            "body",
            element("a", "Skip to the content", href="#content", class_="skip"),
            element("header", element("a", "strongroom", href="/", class_="brand"), _search(find))
            if inside
            else element("header", element("span", "strongroom", class_="brand")),
            element("main", *body, id="content"),
        ),
        lang="en",
    )
    return "<!doctype html>\n" + whole


def _search(find: str) -> Html:
    field = element(
        "input", type="search", name="q", value=find, aria_label="Find files in all archives", accesskey="f",
        placeholder="Find in all archives", maxlength=1000, autocomplete="off",
    )  # fmt: skip
    return element("form", field, element("button", "Find"), action="/search", role="search")


_FIRST, _LAST = 10, 10  # folders of a way that are shown


def crumbs(parts: Sequence[bytes], route: str = "files") -> Html:
    """The way to a place: each folder above it is a link, but for the middle of a very long way."""
    links: list[Inner] = [element("a", "Archives", href="/")]
    for number, part in enumerate(parts, 1):
        if _FIRST < number <= len(parts) - _LAST:
            if number == _FIRST + 1:
                links.append(element("span", "…"))
            continue  # each link has the whole way in it: all of them would be too much for any browser
        last = number == len(parts)
        words = named(part)
        links.append(
            element("span", words, aria_current="page")
            if last
            else element("a", words, href=url(route, *parts[:number]) + "/")
        )
    slash = element("span", "/", aria_hidden="true", class_="slash")
    between = [links[0]]
    for link in links[1:]:
        between += [slash, link]
    return element("nav", *between, aria_label="Path", class_="crumbs")


def named(name: str | bytes) -> Html:
    """A name that cannot reorder what stands beside it."""
    return element("bdi", name)


def table(heads: Sequence[Inner], rows: Sequence[Html], class_: str = "") -> Html:
    """`rows` are <tr>."""
    cells = joined(head if isinstance(head, Html) else element("th", head, scope="col") for head in heads)
    return element(
        "table", element("thead", element("tr", cells)), element("tbody", *rows), class_=class_ or None
    )


def right(words: str) -> Html:
    return element("th", words, scope="col", class_="number")


def size_words(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    number = float(size)
    for unit in _UNITS:
        number /= 1000
        if number < 999.95 or unit == _UNITS[-1]:
            break
    return f"{number:.1f} {unit}" if number < 99.95 else f"{number:.0f} {unit}"


def time_words(ns: int) -> Html:
    """Local, to the minute, and exactly for programs; what no calendar holds is not shown."""
    try:
        moment = datetime.fromtimestamp(ns // 10**9, UTC)
    except (ValueError, OverflowError, OSError):
        return element("span", "beyond all calendars")
    return element("time", f"{moment.astimezone():%Y-%m-%d %H:%M}", datetime=f"{moment:%Y-%m-%dT%H:%M:%SZ}")


def owner_words(entry: Entry) -> str:
    user = entry.user if entry.user is not None else entry.uid
    group = entry.group if entry.group is not None else entry.gid
    return shown(f"{user}:{group}")


def signed(entry: Entry, *inner: Inner) -> Html:
    """A name's cell, with a sign in front that tells what the entry is."""
    kind = _kind(entry)
    sign = element("span", class_=f"kind {kind}", role="img", aria_label=kind)
    return element("td", sign, *inner, class_="name signed")


def _kind(entry: Entry) -> str:
    if entry.is_dir:
        return "folder"
    if entry.target is not None:
        return "link"
    return "file" if entry.is_regular else "special"


def mode_words(mode: int) -> str:
    return stat.filemode(mode)


def count(number: int, one: str) -> str:
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"
