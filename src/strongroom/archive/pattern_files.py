"""Collects patterns from the command line and from files, in the order in which they were given."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from strongroom.archive.patterns import Pattern, PatternMatcher, Style, Verb, parse_pattern, parse_style
from strongroom.errors import CommandError

MAX_LINE = 64 * 1024
"""Characters; far beyond any path, so that a file that is no list of patterns ends here and not in memory."""

_VERBS = {"+": Verb.INCLUDE, "-": Verb.EXCLUDE, "!": Verb.PRUNE}


class PatternBuilder:
    """One call for each option, in command line order. Each raises `CommandError`, naming file and line."""

    def __init__(self) -> None:
        self._patterns: list[Pattern] = []
        self._roots: list[str] = []

    def exclude(self, pattern: str) -> None:
        """`--exclude`: default style `fm`; nothing below a match is looked at."""
        self._patterns.append(parse_pattern(pattern, Style.FNMATCH, Verb.PRUNE))

    def exclude_from(self, file: str | bytes) -> None:
        """`--exclude-from`: a pattern of `--exclude` a line."""
        for number, line in _lines(file):
            with _at(file, number):
                self.exclude(line)

    def pattern(self, command: str) -> None:
        """`--pattern`: `+`, `-` or `!` and a pattern (default style `sh`), or `R` and a root."""
        self._command(command, Style.SHELL)

    def patterns_from(self, file: str | bytes) -> None:
        """`--patterns-from`: a command of `--pattern` a line, or `P` and the style of the lines after it."""
        style = Style.SHELL
        for number, line in _lines(file):
            with _at(file, number):
                style = self._command(line, style)

    def add(self, option: str, value: str) -> None:
        """The same by the option's name: exclude, exclude_from, pattern or patterns_from."""
        {
            "exclude": self.exclude,
            "exclude_from": self.exclude_from,
            "pattern": self.pattern,
            "patterns_from": self.patterns_from,
        }[option](value)

    @property
    def roots(self) -> list[bytes]:
        """What `R` named: where `create` starts, besides its PATH arguments."""
        return [os.fsencode(root) for root in self._roots]

    def for_writing(self) -> PatternMatcher:
        """The matcher of `create`, whose PATH arguments are roots, not patterns."""
        return PatternMatcher(self._patterns)

    def for_reading(self, paths: Iterable[str | bytes] = ()) -> PatternMatcher:
        """The matcher of commands that read archives: only what is in `paths`, or else in the roots."""
        wanted = [os.fsdecode(path) for path in paths] or self._roots
        include = [parse_pattern(path, Style.PREFIX, Verb.INCLUDE) for path in wanted]
        return PatternMatcher(self._patterns, include)

    def _command(self, line: str, style: Style) -> Style:
        """Carry one command out; returns the default style for the next one."""
        letter, value = line[:1], line[1:].lstrip()
        if letter not in _VERBS and letter not in tuple("RrPp"):
            raise CommandError(f"The pattern {line!r} does not start with one of + - ! R P.")
        if not value:
            raise CommandError(f"The pattern {line!r} lacks a value after {letter!r}.")
        if letter in _VERBS:
            self._patterns.append(parse_pattern(value, style, _VERBS[letter]))
        elif letter in "Rr":
            self._roots.append(value)
        else:
            return parse_style(value)
        return style


def _lines(file: str | bytes) -> Iterator[tuple[int, str]]:
    """The numbered lines that say something, without the white space around them."""
    name = os.fsdecode(file)
    try:
        # Names in the file are names of the file system: the same reading of its bytes.
        with open(file, encoding="utf-8", errors="surrogateescape") as lines:
            number = 0
            while raw := lines.readline(MAX_LINE + 1):
                number += 1
                if len(raw) > MAX_LINE:
                    raise CommandError(f"{name}, line {number}: longer than {MAX_LINE} characters.")
                line = raw.strip()
                if line and not line.startswith("#"):
                    yield number, line
    except OSError as error:
        raise CommandError(f"The pattern file {name} cannot be read: {error.strerror}.") from error


@contextmanager
def _at(file: str | bytes, number: int) -> Iterator[None]:
    """Says in which line of which file an error was."""
    try:
        yield
    except CommandError as error:
        raise CommandError(f"{os.fsdecode(file)}, line {number}: {error}") from error
