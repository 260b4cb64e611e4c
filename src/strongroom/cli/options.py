"""Options as rows of a table, and those that every command takes."""

import argparse
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol


class Option(NamedTuple):
    flags: tuple[str, ...]
    keywords: dict[str, Any]


def option(*flags: str, **keywords: Any) -> Option:
    """What `add_argument` takes, as a row of a table."""
    return Option(flags, keywords)


class TakesArguments(Protocol):
    def add_argument(self, *flags: str, **keywords: Any) -> argparse.Action: ...


def add(container: TakesArguments, options: Iterable[Option]) -> None:
    for flags, keywords in options:
        container.add_argument(*flags, **keywords)


def octal(text: str) -> int:
    return int(text, 8)


def _level(flags: str, level: str, words: str) -> Option:
    return option(*flags.split(), dest="log_level", action="store_const", const=level, help=words)


COMMON: tuple[Option, ...] = (
    option("-h", "--help", action="help", help="show this help and exit"),
    option(
        "-r",
        "--repo",
        metavar="REPO",
        dest="repo",
        help="repository to use; arguments then name archives only",
    ),
    _level("--critical", "critical", "show only critical errors"),
    _level("--error", "error", "show only errors"),
    _level("--warning", "warning", "show warnings and errors (default)"),
    _level("--info -v --verbose", "info", "also tell what is going on"),
    _level("--debug", "debug", "also show details, and tracebacks of errors"),
    option(
        "--debug-topic",
        metavar="TOPIC",
        dest="debug_topics",
        action="append",
        help="accepted for compatibility: --debug shows all there is",
    ),
    option("-p", "--progress", dest="progress", action="store_true", help="show progress"),
    option("--iec", dest="iec", action="store_true", help="show sizes in KiB, MiB, ... (1 KiB = 1024 B)"),
    option(
        "--log-json", dest="log_json", action="store_true", help="log one JSON object a line instead of text"
    ),
    option(
        "--lock-wait",
        metavar="SECONDS",
        dest="lock_wait",
        type=int,
        help="wait at most SECONDS for those who want to be alone (default: 1)",
    ),
    option(
        "--bypass-lock",
        dest="lock",
        action="store_false",
        help="accepted for compatibility: reading takes no lock",
    ),
    option("--show-version", dest="show_version", action="store_true", help="log the version"),
    option("--show-rc", dest="show_rc", action="store_true", help="log the return code (rc)"),
    option(
        "--umask",
        metavar="M",
        dest="umask",
        type=octal,
        help="set the umask to M, on this machine only (default: 0077)",
    ),
    option(
        "--remote-path",
        metavar="PATH",
        dest="remote_path",
        help='program to run on the server (default: "strongroom")',
    ),
    option(
        "--remote-ratelimit",
        metavar="RATE",
        dest="upload_ratelimit",
        type=int,
        help="deprecated, use --upload-ratelimit",
    ),
    option(
        "--upload-ratelimit",
        metavar="RATE",
        dest="upload_ratelimit",
        type=int,
        help="limit uploads to RATE KiB/s (default: 0, no limit)",
    ),
    option(
        "--remote-buffer",
        metavar="SIZE",
        dest="upload_buffer",
        type=int,
        help="deprecated, use --upload-buffer",
    ),
    option(
        "--upload-buffer",
        metavar="SIZE",
        dest="upload_buffer",
        type=int,
        help="buffer SIZE MiB of uploads (default: 0, as the program sees fit)",
    ),
    option(
        "--consider-part-files",
        dest="consider_part_files",
        action="store_true",
        help="show the parts of files that an interrupted Borg left (borg:/path)",
    ),
    option(
        "--debug-profile",
        metavar="FILE",
        dest="debug_profile",
        help="write a Python execution profile to FILE",
    ),
    option(
        "--fallback",
        metavar="REPO",
        dest="fallback",
        help="copy of the repository to read from where it is damaged or gone",
    ),
    option("--rsh", metavar="RSH", dest="rsh", help='command that connects to the server (default: "ssh")'),
)

COMMON_DEFAULTS: dict[str, Any] = {
    "repo": None,
    "log_level": "warning",
    "debug_topics": [],
    "progress": False,
    "iec": False,
    "log_json": False,
    "lock_wait": 1,
    "lock": True,
    "show_version": False,
    "show_rc": False,
    "umask": 0o077,
    "remote_path": None,
    "upload_ratelimit": None,
    "upload_buffer": None,
    "consider_part_files": False,
    "debug_profile": None,
    "fallback": None,
    "rsh": None,
    "paths": [],
    "pattern_rules": [],
}


DEPRECATED = {
    "--noatime": "it is the default now",
    "--nobsdflags": "use --noflags instead",
    "--numeric-owner": "use --numeric-ids instead",
    "--remote-ratelimit": "use --upload-ratelimit instead",
    "--remote-buffer": "use --upload-buffer instead",
    "--prefix": "use --glob-archives 'PREFIX*' instead",
}
