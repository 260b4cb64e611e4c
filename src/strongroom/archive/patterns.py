"""Which paths are taken: Borg's pattern styles and the matcher that asks them in order.

Paths are those of archives: no leading slash, `/` between components, no trailing slash. Matching is
done on text; bytes are read as the file system's encoding with surrogate escapes, so that a name that
is not valid text can still be named.
"""

import fnmatch
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

import msgspec
from blake3 import blake3

from strongroom.errors import CommandError


class Decision(NamedTuple):
    """`recurse` tells whether a folder's children are still to be asked about, taken or not."""

    include: bool
    recurse: bool


class Verb(Enum):
    """What happens to a path that a pattern matches."""

    INCLUDE = Decision(include=True, recurse=True)  # `+`, and PATH arguments
    EXCLUDE = Decision(include=False, recurse=True)  # `-`
    PRUNE = Decision(include=False, recurse=False)  # `!`, and --exclude


class Style(Enum):
    """Borg's selectors."""

    FNMATCH = "fm"
    SHELL = "sh"
    REGEX = "re"
    PREFIX = "pp"
    FULL = "pf"


Test = Callable[[str], object]


class Pattern(msgspec.Struct, frozen=True):
    style: Style
    text: str  # without the selector
    verb: Verb
    source: str  # as the user wrote it, for messages
    test: Test | None  # None for `pf`, which needs no test but a look-up


def parse_style(selector: str) -> Style:
    """The style of `fm`, `sh`, `re`, `pp` or `pf`. Raises `CommandError`."""
    try:
        return Style(selector)
    except ValueError:
        known = ", ".join(style.value for style in Style)
        raise CommandError(f"The pattern style {selector!r} is unknown: use one of {known}.") from None


def parse_pattern(source: str, default: Style, verb: Verb) -> Pattern:
    """A pattern with or without a selector, such as `sh:home/*/.cache`.

    Raises `CommandError` for an unknown selector and for what cannot be compiled.
    """
    style, text = default, source
    if len(source) > 2 and source[2] == ":" and source[:2].isalnum():
        style, text = parse_style(source[:2]), source[3:]
    try:
        test = _compile(style, _normalized(text))
    except (re.error, OverflowError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise CommandError(
            f"The pattern {source!r} cannot be used: {reason}. See `strongroom help patterns`."
        ) from error
    return Pattern(style, text, verb, source, test)


# --- the matcher ---


class _Rule:
    """A pattern at work."""

    __slots__ = ("decision", "matched", "on_bare_path", "source", "test")

    def __init__(self, pattern: Pattern, test: Test) -> None:
        self.test = test
        self.on_bare_path = pattern.style is Style.REGEX  # the others want a slash behind the path
        self.decision = pattern.verb.value
        self.source = pattern.source
        self.matched = False


class PatternMatcher:
    """Answers for one path after the other: `pf` patterns first, then the others, the first match counts.

    `include` are the PATH arguments of commands that read archives (default style `pp`): they come after
    all `patterns`, and where there is one, what nothing matches is left out.
    """

    def __init__(self, patterns: Iterable[Pattern] = (), include: Iterable[Pattern] = ()) -> None:
        self._full: dict[str, Decision] = {}
        self._rules: list[_Rule] = []
        self._digest = blake3(b"strongroom patterns 1\0")
        patterns = list(patterns)
        for pattern in patterns:
            self._add(pattern)
        own = len(self._rules)
        include = list(include)
        restricted = False
        for pattern in include:
            self._add(pattern)
            restricted = True
        self._included = self._rules[own:]
        self._places = [
            (one.source, os.path.normpath(_normalized(one.text)).lstrip("/"))
            for one in include
            if one.style in (Style.PREFIX, Style.FULL)
        ]
        # Only prefixes and full paths tell where their matches can lie.
        taking = [one for one in (*patterns, *include) if one.verb is Verb.INCLUDE]
        self._anywhere = any(one.style not in (Style.PREFIX, Style.FULL) for one in taking)
        self._roots = [os.path.normpath(_normalized(one.text)).lstrip("/") for one in taking]
        self._fallback = Decision(include=not restricted, recurse=True)
        self._digest.update(bytes([self._fallback.include]))
        self.is_trivial = not self._full and not self._rules
        """True where every path is taken: hot loops need not ask."""

    def _add(self, pattern: Pattern) -> None:
        self._digest.update(f"{pattern.style.name} {pattern.verb.name} ".encode())
        text = _normalized(pattern.text).encode("utf-8", "surrogateescape")
        self._digest.update(len(text).to_bytes(8, "little") + text)
        if pattern.test is None:
            # One look-up for any number of them; of equal ones the last counts, as in Borg.
            path = os.path.normpath(_normalized(pattern.text)).lstrip("/")
            self._full[path] = pattern.verb.value
        else:
            self._rules.append(_Rule(pattern, pattern.test))

    def match(self, path: bytes | str) -> bool:
        """Whether the path itself is taken."""
        return self.decide(path).include

    def decide(self, path: bytes | str) -> Decision:
        """Whether the path is taken, and whether its children are to be asked about."""
        text = _normalized(os.fsdecode(path)).lstrip("/")
        full = self._full.get(text)
        if full is not None:
            return full
        with_slash = text + "/"
        for rule in self._rules:
            if rule.test(text if rule.on_bare_path else with_slash):
                rule.matched = True
                return rule.decision
        return self._fallback

    def may_match_below(self, folder: bytes) -> bool:
        """Whether anything in the folder, at any depth, may be taken: False spares reading it."""
        if self._fallback.include or self._anywhere:
            return True
        text = _normalized(os.fsdecode(folder)).lstrip("/")
        return any(_related(text, root) for root in self._roots)

    def unmatched_includes(self) -> list[str]:
        """The PATH arguments that decided over no path so far, as written.

        `pf` ones are never among them, as in Borg.
        """
        return [rule.source for rule in self._included if not rule.matched]

    def places(self) -> list[tuple[str, bytes]]:
        """The PATH arguments that name one place each: as written, and as the path that it is in archives."""
        return [(source, os.fsencode(path)) for source, path in self._places]

    def fingerprint(self) -> bytes:
        """32 bytes that differ for matchers that may decide differently; stable over runs and machines."""
        return self._digest.digest()


def _normalized(text: str) -> str:
    # HFS+ keeps names decomposed; elsewhere a name is the bytes that it is.
    return unicodedata.normalize("NFD", text) if sys.platform == "darwin" else text


# --- the styles ---


def _compile(style: Style, text: str) -> Test | None:
    match style:
        case Style.FULL:
            return None
        case Style.PREFIX:
            prefix = (os.path.normpath(text).rstrip("/") + "/").lstrip("/")
            return lambda path: path.startswith(prefix)
        case Style.REGEX:
            return re.compile(text).search
        case Style.SHELL:
            return re.compile(_translate_shell(_glob(text, "**/*"))).match
        case Style.FNMATCH:
            return re.compile(fnmatch.translate(_glob(text, "*"))).match


def _glob(text: str, below: str) -> str:
    """The glob that matches the path and all `below` it; with a trailing slash, only what is below."""
    path = os.path.normpath(text)
    if text.endswith("/"):
        return f"{path.rstrip('/')}/{below}/".lstrip("/")
    return f"{path}/{below}".lstrip("/")


_ANY_DEPTH = "(?:[^/]*/)*"
_ANY_NAME = "[^/]*"


def _translate_shell(glob: str) -> str:
    """A regular expression: `*` and `?` stay within a component, `**/` crosses any number of them."""
    parts: list[str] = []
    at = 0
    while at < len(glob):
        char = glob[at]
        if glob.startswith("**/", at):
            part, at = _ANY_DEPTH, at + 3
        elif char == "*":
            part, at = _ANY_NAME, at + 1
        elif char == "?":
            part, at = "[^/]", at + 1
        elif char == "[":
            part, at = _translate_class(glob, at + 1)
        else:
            part, at = re.escape(char), at + 1
        # A wildcard twice in a row matches the same but may backtrack for hours.
        if not (parts and part == parts[-1] and part in (_ANY_DEPTH, _ANY_NAME)):
            parts.append(part)
    return "".join(parts) + r"\Z"


def _related(folder: str, root: str) -> bool:
    """One lies in the other, or they are the same."""
    if root in ("", "."):
        return True
    return folder == root or folder.startswith(root + "/") or root.startswith(folder + "/")


def matches_name(glob: str, name: str) -> bool:
    """Whether an archive's name fits a shell pattern: `--glob-archives`."""
    return re.match(_translate_shell(glob), name) is not None


def _translate_class(glob: str, start: int) -> tuple[str, int]:
    """The bracket expression whose text begins at `start`, and where it ends; a lone `[` is itself."""
    first = start + 1 if glob.startswith("!", start) else start
    end = glob.find("]", first + 1 if glob.startswith("]", first) else first)
    if end < 0:
        return r"\[", start
    inside = re.sub(r"([\\\[&~|])", r"\\\1", glob[first:end])  # backslash, and what `re` may give a meaning
    if first > start:
        return f"[^{inside}]", end + 1
    return f"[{chr(92) if inside.startswith('^') else ''}{inside}]", end + 1
