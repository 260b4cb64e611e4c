"""The pages that show one archive at a time: the list of archives, folders, files."""

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from strongroom.archive.browsing import Folder, Node
from strongroom.archive.entries import Entry
from strongroom.web import layout
from strongroom.web.asking import Answer, Ask
from strongroom.web.layout import count, crumbs, named, page, right, size_words, time_words
from strongroom.web.library import Shelved
from strongroom.web.markup import Html, Inner, element, joined, url
from strongroom.web.previews import preview

PER_PAGE = 1000  # rows
_DIGITS = re.compile(r"[0-9]+")
_SORTS = {"name": "Name", "size": "Size", "time": "Changed"}


# --- outside ---


def locked(*, wrong: bool = False) -> Response:
    """Asks for the token."""
    field = element(
        "input", type="password", name="token", id="token", required=True, autofocus=True, autocomplete="off"
    )
    form = element(
        "form", element("label", "Token", for_="token"), field, element("button", "Open"), action="/",
        class_="token",
    )  # fmt: skip
    said = (
        "That is not the token."
        if wrong
        else "This page needs the token that strongroom printed at its start."
    )
    return page(
        "Locked",
        element("h1", "Locked"),
        element("p", said, role="alert" if wrong else None),
        element("p", "Open the address from the terminal, or type its token here.", class_="note"),
        form,
        status=403 if wrong else 401,
        inside=False,
    )


def failed(status: int, words: str = "", headers: Mapping[str, str] | None = None) -> Response:
    phrase = HTTPStatus(status).phrase
    says = {
        404: "There is nothing here.",
        500: "This went wrong inside of strongroom; the terminal tells more.",
    }
    if not words or words == phrase:
        words = says.get(status, phrase)
    back = element("p", element("a", "All archives", href="/"))
    answer = page(phrase, element("h1", phrase), element("p", words, class_="note"), back, status=status)
    answer.headers.update(headers or {})
    return answer


# --- archives ---


def front(ask: Ask) -> Answer:
    ask.library.look_for_news()
    shelves = ask.library.archives()[::-1]
    first = ask.number("from")
    part = shelves[first : first + PER_PAGE]
    body: list[Inner] = [
        element("h1", "Archives"),
        element("p", f"{count(len(shelves), 'archive')} of {ask.library.location}", class_="note"),
    ]
    if not part:
        return page("Archives", *body, element("p", "There is nothing to show."))
    rows = [_archive_row(shelf, chosen) for chosen, shelf in enumerate(part)]
    heads: list[Inner] = ["Archive", "Made", "Host", right("Files"), right("Size")]
    if len(shelves) > 1:
        heads = [
            element("th", element("abbr", "old", title="the older side of a comparison"), scope="col"),
            element("th", element("abbr", "new", title="the newer side of a comparison"), scope="col"),
            *heads,
        ]
        body.append(
            element(
                "form",
                layout.table(heads, rows, "archives"),
                element("p", element("button", "Compare old and new"), class_="tools"),
                action="/compare",
            )
        )
    else:
        plain = [_archive_row(shelf, None) for shelf in part]
        body.append(layout.table(heads, plain, "archives"))
    return page("Archives", *body, _more("/", {}, first, len(shelves)))


def _archive_row(shelf: Shelved, number: int | None) -> Html:
    meta = shelf.meta
    choice = [
        element(
            "td",
            element(
                "input", type="radio", name=side, value=shelf.info.id.hex(), checked=number == which,
                aria_label=f"{meta.name} is the {words} side",
            ),
            class_=f"pick {side}",
        )
        for side, which, words in (("old", 1, "older"), ("new", 0, "newer"))
        if number is not None
    ]  # fmt: skip
    marks: list[Inner] = []
    if meta.comment:
        marks.append(element("small", meta.comment))
    if shelf.info.requested is not None:
        marks.append(element("small", f"deletion asked for by {shelf.info.requested_by}", class_="warn"))
    if shelf.info.distrust is not None:
        marks.append(element("small", "rests on what a revoked key wrote", class_="warn"))
    link = element("a", named(meta.name), href=url("files", shelf.name) + "/")
    return element(
        "tr",
        *choice,
        element("td", link, *marks, class_="name"),
        element("td", time_words(meta.start), class_="when"),
        element("td", named(meta.hostname), class_="host"),
        element("td", f"{meta.files:,}", class_="number files"),
        element("td", size_words(meta.original), class_="number"),
    )


def _more(place: str, query: dict[str, str], first: int, total: int) -> Html | None:
    """Links to other pages."""
    last = max(0, total - 1) // PER_PAGE * PER_PAGE
    places = {"First": 0, "Previous": max(0, first - PER_PAGE), "Next": first + PER_PAGE, "Last": last}
    shown = {"First": first > PER_PAGE, "Previous": first > 0, "Next": places["Next"] < total}
    shown["Last"] = last > places["Next"]
    links = [
        element(
            "a", words, href=url(place.strip("/"), **query, **{"from": str(at)}),
            rel={"Previous": "prev", "Next": "next"}.get(words),
        )
        for words, at in places.items()
        if shown[words]
    ]  # fmt: skip
    said = f"{first + 1:,} to {min(first + PER_PAGE, total):,} of {total:,}"
    return element("nav", said, *links, class_="tools", aria_label="Pages") if links else None


# --- what is in them ---


def place(ask: Ask) -> Answer:
    """A folder, or anything else at a path."""
    if not ask.parts:
        return RedirectResponse("/", 303)
    node = ask.library.node(ask.parts)
    if isinstance(node, Folder):
        return _folder(ask, node)
    return _file(ask, node.entry)


def _folder(ask: Ask, folder: Folder) -> Answer:
    sort = ask.query.get("sort", "name")
    sort = sort if sort in _SORTS else "name"
    here = url("files", *ask.parts) + "/"
    names = ask.library.order(folder, sort, partial(_sorted, sort=sort))
    first = ask.number("from")
    if first >= len(names):
        first = max(0, len(names) - 1) // PER_PAGE * PER_PAGE
    pages = _more(here, {"sort": sort if sort != "name" else ""}, first, len(names))
    inside = ask.library.children(folder)
    rows = [_row(ask.parts, name, inside[name]) for name in names[first : first + PER_PAGE]]
    tools = [
        element("a", "Download as tar", href=url("tar", *ask.parts), class_="button"),
        element("a", "Download as zip", href=url("zip", *ask.parts), class_="button"),
    ]
    if len(ask.parts) > 1:
        tools.append(element("a", "All versions", href=url("versions", *ask.parts[1:]), class_="button"))
    heads = [
        element(
            "th",
            element("a", words, href=here + (f"?sort={key}" if key != "name" else "")),
            scope="col",
            aria_sort=("ascending" if key == "name" else "descending") if key == sort else None,
            class_="number" if key == "size" else None,
        )
        for key, words in _SORTS.items()
    ]
    body: list[Inner] = [
        crumbs(ask.parts),
        element("h1", named(ask.parts[-1])),
        element("p", count(len(names), "entry").replace("entrys", "entries"), class_="note"),
        element("p", *tools, class_="tools"),
        pages if len(names) > PER_PAGE else None,
        layout.table([*heads, "Mode", "Owner"], rows, "files")
        if rows
        else element("p", "This folder is empty."),
        pages,
    ]
    return page(_title(ask), *body)


def _title(ask: Ask) -> str:
    return ask.parts[-1].decode("utf-8", "surrogateescape")


def _sorted(entries: Iterable[tuple[bytes, Entry]], sort: str) -> list[bytes]:
    """The whole folder's names, so that pages follow each other; a name and a short key of each in memory."""

    def rank(name: bytes, entry: Entry) -> tuple[int, bool, str, bytes]:
        first = {"size": -entry.size, "time": -entry.mtime}.get(sort, 0)
        return first, not entry.is_dir, natural(name), name

    return [key[-1] for key in sorted(rank(name, entry) for name, entry in entries)]


def natural(name: bytes) -> str:
    """A key for the order that people expect: without regard to case, numbers by what they say, letters with
    accents behind those without and before the next letter.

    One text, not a list of its parts, which takes twice the memory and time.
    """
    text = name.decode("utf-8", "surrogateescape")
    if not text.isascii():
        text = unicodedata.normalize("NFD", text)
    return _DIGITS.sub(_measured, text.casefold())


def _measured(match: re.Match[str]) -> str:
    """Digits behind their count: the longer number is the greater one."""
    digits = match[0].lstrip("0")
    return f"{len(digits):04}{digits}"


def _row(above: Sequence[bytes], name: bytes, node: Node) -> Html:
    entry = node.entry
    link = element("a", named(name), href=url("files", *above, name) + ("/" if entry.is_dir else ""))
    target = (
        element("small", "→\N{NO-BREAK SPACE}", named(entry.target)) if entry.target is not None else None
    )
    return element(
        "tr",
        layout.signed(entry, link, target),
        element("td", size_words(entry.size) if entry.is_regular else "", class_="number"),
        element("td", time_words(entry.mtime), class_="when"),
        element("td", layout.mode_words(entry.mode), class_="mode"),
        element("td", layout.owner_words(entry), class_="owner"),
    )


def _file(ask: Ask, entry: Entry) -> Answer:
    tools: list[Inner] = []
    if entry.is_regular:
        tools.append(element("a", "Download", href=url("download", *ask.parts), class_="button main"))
    tools.append(element("a", "All versions", href=url("versions", *ask.parts[1:]), class_="button"))
    facts = [
        ("Size", f"{size_words(entry.size)} ({entry.size:,} bytes)" if entry.is_regular else None),
        ("Leads to", _target(ask, entry)),
        ("Changed", time_words(entry.mtime)),
        ("Mode", layout.mode_words(entry.mode)),
        ("Owner", layout.owner_words(entry)),
        ("Attributes", joined(sorted(entry.xattrs), ", ") if entry.xattrs else None),
        ("Access list", "yes" if entry.acl_access is not None else None),
    ]
    list_ = [
        element("div", element("dt", words), element("dd", value))
        for words, value in facts
        if value is not None
    ]
    return page(
        _title(ask),
        crumbs(ask.parts),
        element("h1", named(ask.parts[-1])),
        element("p", *tools, class_="tools"),
        element("dl", *list_, class_="facts"),
        preview(ask, entry) if entry.is_regular and entry.size else None,
    )


def _target(ask: Ask, entry: Entry) -> Html | None:
    """Where a link leads, as a link if the archive has it."""
    if entry.target is None:
        return None
    above = b"/".join(ask.parts[1:-1])
    path = posixpath.normpath(posixpath.join(b"/" + above, entry.target)).strip(b"/")
    try:
        ask.library.node((ask.parts[0], *path.split(b"/")))
    except (FileNotFoundError, NotADirectoryError):
        return named(entry.target)
    return element("a", named(entry.target), href=url("files", ask.parts[0], path))
