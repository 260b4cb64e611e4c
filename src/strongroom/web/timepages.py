"""The pages that show several archives at once: a path's versions, a search, a comparison."""

import fnmatch
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from starlette.exceptions import HTTPException

from strongroom.archive.changes import (
    Appeared,
    AttributesChanged,
    Change,
    Concerns,
    ModeChanged,
    OwnerChanged,
    Redirected,
    Retargeted,
    TimeChanged,
    Vanished,
    changes_of,
)
from strongroom.archive.differences import different
from strongroom.archive.same_content import ContentComparison, Modified
from strongroom.commands.diff import Difference
from strongroom.commands.find import Found, Version, Wanted, find_in, find_path_in
from strongroom.commands.results import ArchiveInfo
from strongroom.errors import StrongroomError
from strongroom.ids import ID_SIZE, ArchiveId
from strongroom.web import layout
from strongroom.web.asking import Answer, Ask
from strongroom.web.layout import Leaf, count, crumbs, named, page, right, size_words, time_words
from strongroom.web.library import Library, Shelved
from strongroom.web.markup import Html, Inner, element, joined, url

MOST_FOUND = 500  # rows
SECONDS = 20.0  # that a search or a comparison may take before it shows what it has


# --- versions ---


def versions(ask: Ask) -> Answer:
    """What every archive has at a path, newest first, for each machine by itself."""
    path = b"/".join(ask.parts)
    if not path:
        raise HTTPException(404)
    shelves = ask.library.archives()
    found = find_path_in([shelf.tree for shelf in shelves], [shelf.info for shelf in shelves], path)
    if not found:
        raise FileNotFoundError(path)
    body: list[Inner] = [
        crumbs(ask.parts, "versions"),
        element("h1", "Versions of ", named(ask.parts[-1])),
    ]
    for one in found:
        if len(found) > 1:
            body.append(element("h2", "On ", named(one.host or "an unnamed machine")))
        body.append(_time_line(ask.library, one))
    return page(f"Versions of {os.fsdecode(ask.parts[-1])}", *body)


def _time_line(library: Library, found: Found) -> Html:
    items = []
    for version in reversed(found.versions):
        if version.gone is not None:
            words = element("p", "Gone in ", _archive_link(library, version.gone))
            items.append(element("li", words, class_="gone"))
        items.append(_version(library, found.path, version))
    return element("ol", *items, class_="line")


def _version(library: Library, path: bytes, version: Version) -> Html:
    entry, shelf = version.entry, library.by_id(version.first.id)
    words: list[Inner] = [
        element("a", time_words(entry.mtime), href=_place(shelf, path, folder=entry.is_dir))
    ]
    if entry.is_regular:
        words += [f" · {size_words(entry.size)} · "]
        words.append(element("a", "Download", href=url("download", shelf.name, path)))
    elif entry.target is not None:
        words += [" → ", named(entry.target)]
    held: list[Inner] = ["In ", _archive_link(library, version.first)]
    if version.last is not version.first:
        held += [" to ", _archive_link(library, version.last), f" ({count(version.archives, 'archive')})"]
    looks = f"{layout.mode_words(entry.mode)}  {layout.owner_words(entry)}"
    return element(
        "li", element("p", *words), element("p", *held, class_="soft"), element("p", looks, class_="soft")
    )


def _archive_link(library: Library, info: ArchiveInfo) -> Html:
    shelf = library.by_id(info.id)
    return element("a", named(shelf.meta.name), href=url("files", shelf.name) + "/")


def _place(shelf: Shelved, path: bytes, *, folder: bool) -> str:
    return url("files", shelf.name, path) + ("/" if folder else "")


# --- search ---


class _OutOfTime(Exception):
    pass


def search(ask: Ask) -> Answer:
    """By a part of the name whatever its case, by a glob, or, with a slash, by a part of the path."""
    words = ask.query.get("q", "").strip()
    if not words:
        return page(
            "Find", element("h1", "Find"), element("p", "Type a part of a name, or a pattern such as *.odt.")
        )
    shelves = ask.library.archives()
    where = count(len(shelves), "archive")
    matches = matcher(words)

    def fill(leaf: Leaf) -> None:
        clock = _Clock(leaf)

        def checked(path: bytes) -> bool:
            clock.check()
            return matches(path)

        trees, infos = [shelf.tree for shelf in shelves], [shelf.info for shelf in shelves]
        found = find_in(trees, infos, Wanted(), checked, lambda _: True)
        rows = (_found_row(ask.library, one) for one in found)
        heads = ["Path", right("Size"), "Changed", right("Versions"), "Last in"]
        leaf.write(layout.busy(f"Looking in {where}, {SECONDS:.0f} seconds at most …"))
        nothing, late = f"Nothing is called that in {where}.", "`find` looks to the end"
        _pour_rows(ask.library, leaf, heads, rows, "found", _Words("path", f" in {where}", nothing, late))

    opening = crumbs([b"Find"]), element("h1", "Found: ", named(words))
    return layout.poured(f"Find {words}", *opening, fill=fill, find=words)


class _Clock:
    def __init__(self, leaf: Leaf) -> None:
        self._leaf = leaf
        self._end = time.monotonic() + SECONDS

    def check(self) -> None:
        """Raises `_OutOfTime`, and `ClientGone`."""
        self._leaf.check()
        if time.monotonic() > self._end:
            raise _OutOfTime


class _Words(NamedTuple):
    """How a page tells what its rows came to."""

    noun: str  # of a row
    done: str  # behind how many there are
    nothing: str
    late: str


def _pour_rows(
    library: Library, leaf: Leaf, heads: Sequence[Inner], rows: Iterator[Html], class_: str, words: _Words
) -> None:
    """And tell how many, and why not more; what fails is told to the reporter, too."""
    number, said = 0, ""

    def counted() -> Iterator[Html]:
        nonlocal number, said
        try:
            for row in rows:
                if number == MOST_FOUND:
                    said = f"The first {MOST_FOUND} {words.noun}s; there are more."
                    return
                number += 1
                yield row
        except _OutOfTime:
            said = f"{count(number, words.noun)} within {SECONDS:.0f} seconds; {words.late}."

    try:
        leaf.table(heads, counted(), class_)
    except StrongroomError as error:
        said = f"{count(number, words.noun)} until something could not be read."
        library.tell(error)
        leaf.write(layout.told(f"This cannot be read: {error}", bad=True))
    whole = f"{count(number, words.noun)}{words.done}" if number else words.nothing
    leaf.write(layout.told(said or whole))


def _found_row(library: Library, found: Found) -> Html:
    newest = found.versions[-1]
    entry, shelf = newest.entry, library.by_id(newest.last.id)
    return element(
        "tr",
        layout.signed(
            entry, element("a", named(found.path), href=_place(shelf, found.path, folder=entry.is_dir))
        ),
        element("td", size_words(entry.size) if entry.is_regular else "", class_="number"),
        element("td", time_words(entry.mtime), class_="when"),
        element(
            "td",
            element("a", len(found.versions), href=url("versions", found.path)),
            class_="number versions",
        ),
        element(
            "td",
            _archive_link(library, newest.last),
            element("small", "gone since", class_="warn") if newest.gone is not None else None,
            class_="last",
        ),
    )


def matcher(words: str) -> Callable[[bytes], bool]:
    wanted = words.casefold()
    whole = "/" in wanted.strip("/")
    wanted = wanted.strip("/") or wanted
    pattern = wanted if re.search(r"[*?\[]", wanted) else f"*{_plain(wanted)}*"
    fits = re.compile(fnmatch.translate(pattern)).match

    def matches(path: bytes) -> bool:
        text = os.fsdecode(path if whole else path.rpartition(b"/")[2]).casefold()
        return fits(text) is not None

    return matches


def _plain(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


# --- comparison ---


def compare(ask: Ask) -> Answer:
    """What changed from one archive to another."""
    old, new = (_side(ask, side) for side in ("old", "new"))

    def fill(leaf: Leaf) -> None:
        found = _differences(ask.library, old, new, _Clock(leaf))
        rows = (_difference_row(old, new, one) for one in found)
        leaf.write(layout.busy(f"Comparing, {SECONDS:.0f} seconds at most …"))
        words = _Words("difference", ".", "Nothing differs.", "there may be more")
        _pour_rows(ask.library, leaf, ["Path", "What changed"], rows, "changes", words)

    opening = [
        crumbs([b"Compare"]),
        element("h1", named(old.meta.name), " → ", named(new.meta.name)),
        element("p", time_words(old.meta.start), " → ", time_words(new.meta.start), class_="note"),
    ]
    return layout.poured(f"{old.meta.name} → {new.meta.name}", *opening, fill=fill)


def _side(ask: Ask, name: str) -> Shelved:
    text = ask.query.get(name, "")
    if len(text) != 2 * ID_SIZE or not set(text) <= set("0123456789abcdef"):
        raise HTTPException(400, "Choose an older and a newer archive.")
    return ask.library.by_id(ArchiveId(bytes.fromhex(text)))


def _differences(library: Library, old: Shelved, new: Shelved, clock: _Clock) -> Iterator[Difference]:
    comparable = old.meta.chunker == new.meta.chunker
    contents = ContentComparison(library.chunks.read, comparable=comparable)
    for pair in different(old.tree, new.tree, lambda _: True):
        clock.check()
        changes = changes_of(pair.old, pair.new, contents.compare, Concerns(ctime=False))
        if changes:
            yield Difference(pair, changes)


def _difference_row(old: Shelved, new: Shelved, found: Difference) -> Html:
    pair = found.pair
    entry, shelf = (pair.new, new) if pair.new is not None else (pair.old, old)
    assert entry is not None  # one side has it
    words = joined([change_words(change) for change in found.changes], ", ")
    link = element("a", named(pair.path), href=_place(shelf, pair.path, folder=entry.is_dir))
    return element("tr", layout.signed(entry, link), element("td", words, class_="change"))


def change_words(change: Change) -> Html:
    match change:
        case Appeared(kind, size):
            return element("span", f"added{_sized(kind, size)}", class_="plus")
        case Vanished(kind, size):
            return element("span", f"removed{_sized(kind, size)}", class_="minus")
        case Modified(int(added), int(removed)):
            plus = element("span", f"+{size_words(added)}", class_="plus")
            return joined(["content ", plus, " ", element("span", f"−{size_words(removed)}", class_="minus")])
        case Modified():
            return joined(["content"])
        case Retargeted(before, after):
            return joined(["leads to ", named(after), " instead of ", named(before)])
        case Redirected():
            return joined(["device number"])
        case OwnerChanged():
            owners = f"{change.old_user}:{change.old_group}", f"{change.new_user}:{change.new_group}"
            return joined(["owner ", named(owners[0]), " → ", named(owners[1])])
        case ModeChanged(before_mode, after_mode):
            return joined([f"mode {layout.mode_words(before_mode)} → {layout.mode_words(after_mode)}"])
        case TimeChanged():
            return joined(["time"])
        case AttributesChanged(which, names):
            words = {"xattrs": "attributes", "acl": "access list", "flags": "flags"}[which]
            return joined([words, " " if names else "", joined(names, ", ")])


def _sized(kind: str, size: int) -> str:
    return f" {size_words(size)}" if kind == "file" else f" {kind}"
