"""The command line: a parser that knows every command by name and loads the one that is used.

Common options stand before or after the command, as in Borg. Each command is a module of
`strongroom.cli.commands` with `define(parser)`, `run(session)`, a DESCRIPTION and an EPILOG.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import IO, Any, NamedTuple, NoReturn, Protocol, cast

from strongroom import __version__
from strongroom.cli.commands import COMMANDS, GROUPS, Command
from strongroom.cli.location import ARCHIVE, EITHER, REPOSITORY

PROGRAM = "strongroom"


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
    option("-r", "--repo", metavar="REPO", dest="repo", help="repository to use; arguments then name archives only"),
    _level("--critical", "critical", "show only critical errors"),
    _level("--error", "error", "show only errors"),
    _level("--warning", "warning", "show warnings and errors (default)"),
    _level("--info -v --verbose", "info", "also tell what is going on"),
    _level("--debug", "debug", "also show details, and tracebacks of errors"),
    option("--debug-topic", metavar="TOPIC", dest="debug_topics", action="append", help="show details of TOPIC (can be given several times)"),
    option("-p", "--progress", dest="progress", action="store_true", help="show progress"),
    option("--iec", dest="iec", action="store_true", help="show sizes in KiB, MiB, ... (1 KiB = 1024 B)"),
    option("--log-json", dest="log_json", action="store_true", help="log one JSON object a line instead of text"),
    option("--lock-wait", metavar="SECONDS", dest="lock_wait", type=int, help="wait at most SECONDS for a lock (default: 1)"),
    option("--bypass-lock", dest="lock", action="store_false", help="accepted for compatibility: reading takes no lock"),
    option("--show-version", dest="show_version", action="store_true", help="log the version"),
    option("--show-rc", dest="show_rc", action="store_true", help="log the return code (rc)"),
    option("--umask", metavar="M", dest="umask", type=octal, help="set the umask to M, on this machine only (default: 0077)"),
    option("--remote-path", metavar="PATH", dest="remote_path", help='program to run on the server (default: "strongroom")'),
    option("--remote-ratelimit", metavar="RATE", dest="upload_ratelimit", type=int, help="deprecated, use --upload-ratelimit"),
    option("--upload-ratelimit", metavar="RATE", dest="upload_ratelimit", type=int, help="limit uploads to RATE KiB/s (default: 0, no limit)"),
    option("--remote-buffer", metavar="SIZE", dest="upload_buffer", type=int, help="deprecated, use --upload-buffer"),
    option("--upload-buffer", metavar="SIZE", dest="upload_buffer", type=int, help="buffer SIZE MiB of uploads (default: 0, as the program sees fit)"),
    option("--consider-part-files", dest="consider_part_files", action="store_true", help="accepted for compatibility: there are no part files"),
    option("--debug-profile", metavar="FILE", dest="debug_profile", help="write a Python execution profile to FILE"),
    option("--rsh", metavar="RSH", dest="rsh", help='command that connects to the server (default: "ssh")'),
)  # fmt: skip

COMMON_DEFAULTS: dict[str, Any] = {
    "repo": None, "log_level": "warning", "debug_topics": [], "progress": False, "iec": False,
    "log_json": False, "lock_wait": 1, "lock": True, "show_version": False, "show_rc": False,
    "umask": 0o077, "remote_path": None, "upload_ratelimit": None, "upload_buffer": None,
    "consider_part_files": False, "debug_profile": None, "rsh": None,
    "command": None, "paths": [], "pattern_rules": [],
}  # fmt: skip


_DEPRECATED = {
    "--noatime": "it is the default now",
    "--nobsdflags": "use --noflags instead",
    "--numeric-owner": "use --numeric-ids instead",
    "--remote-ratelimit": "use --upload-ratelimit instead",
    "--remote-buffer": "use --upload-buffer instead",
    "--prefix": "use --glob-archives 'PREFIX*' instead",
}


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


class Parser(argparse.ArgumentParser):
    """A parser that is filled when it is first used; `with_repo`: `-r` names the repository."""

    def __init__(self, *, fill: "Callable[[Parser], None] | None" = None, with_repo: bool = False, **more: Any) -> None:
        self._fill = fill
        self.with_repo = with_repo
        self.leftovers_to: str | None = None
        more.setdefault("formatter_class", _Help)
        super().__init__(add_help=False, **more)

    def filled(self) -> "Parser":
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        return self

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.filled()
        found, extras = super().parse_known_args(args, namespace)
        if self.leftovers_to:
            # argparse gives up on a list of positionals that an option interrupts: `a --stats b`
            words = [word for word in extras if word == "-" or not word.startswith("-")]
            setattr(found, self.leftovers_to, [*getattr(found, self.leftovers_to), *words])
            extras = [word for word in extras if word not in words]
        return found, extras

    def format_help(self) -> str:
        return super(Parser, self.filled()).format_help()

    def print_usage(self, file: "IO[str] | None" = None) -> None:
        super(Parser, self.filled()).print_usage(file)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}.\nSee: {self.prog} --help\n")

    def paths(self, metavar: str, words: str, dest: str = "paths", **more: Any) -> None:
        """The rest of the arguments."""
        self.add_argument(dest, metavar=metavar, nargs="*", action="extend", default=[], help=words, **more)
        self.leftovers_to = dest

    def location(self, expects: str, words: str) -> None:
        """The argument that names a repository, an archive, or either."""
        self.set_defaults(expects=expects, location="")
        if expects == ARCHIVE:
            self.add_argument("location", metavar="ARCHIVE", help=words)
        elif not self.with_repo:
            metavar = "REPOSITORY" if expects == REPOSITORY else "REPOSITORY_OR_ARCHIVE"
            self.add_argument("location", metavar=metavar, nargs="?", default="", help=words)
        elif expects == EITHER:
            self.add_argument("location", metavar="ARCHIVE", nargs="?", default="", help=words)


class _Commands(argparse._SubParsersAction):  # type: ignore[type-arg]
    """Hands the namespace on to the command's parser, so that a common option counts wherever it stands."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        name, *rest = values
        chosen = self._name_parser_map[name]
        _, extras = chosen.parse_known_args(rest, namespace)
        if extras:
            chosen.error(f"unrecognized arguments: {' '.join(extras)}")


def build(*, with_repo: bool = False) -> Parser:
    """The parser of the whole program. No command's module is loaded yet."""
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s [OPTIONS] COMMAND ...",
        description="Deduplicating, encrypted backups to servers that need not be trusted.",
        epilog="Help on a command: strongroom COMMAND --help. Help on patterns, placeholders and more: "
        "strongroom help.\n\nexample:\n"
        "    strongroom init --encryption repokey /mnt/backup\n"
        "    strongroom create --stats /mnt/backup::'{hostname}-{now}' ~/documents",
    )
    parser.set_defaults(**COMMON_DEFAULTS)
    _add_common(parser, main=True)
    groups: dict[str, Any] = {"": _subcommands(parser)}
    for command in COMMANDS:
        group, _, name = command.name.rpartition(" ")
        if group not in groups:
            about = GROUPS[group]
            inner = groups[""].add_parser(
                group,
                usage=f"{PROGRAM} {group} COMMAND ...",
                help=about,
                description=about[0].upper() + about[1:] + ".",
            )
            inner.set_defaults(group_parser=inner)
            _add_common(inner)
            groups[group] = _subcommands(inner)
        groups[group].add_parser(
            name,
            prog=f"{PROGRAM} {command.name}",
            help=command.help,
            fill=_filler(command),
            with_repo=with_repo,
        )
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line. Exits with help or a usage error, as argparse does."""
    words = list(words)
    for word in words:
        reason = _DEPRECATED.get(word.split("=")[0])
        if reason:
            print(f"Warning: {word.split('=')[0]} is deprecated: {reason}.", file=sys.stderr)
    parser = build()
    found = parser.parse_args(words or ["--help"])
    if found.repo is not None:
        # only now is it known that the arguments name archives alone
        found = build(with_repo=True).parse_args(words)
    if found.command is None:
        getattr(found, "group_parser", parser).print_help()
        parser.exit(0)
    return found


def leaf(parser: Parser, name: str) -> Parser:
    """The parser of a command or group, like "key export". Raises `KeyError`."""
    for word in name.split():
        action = next(a for a in parser._actions if isinstance(a, _Commands))
        parser = cast("Parser", action.choices[word])
    return parser.filled()


def _subcommands(parser: Parser) -> Any:
    parser.register("action", "parsers", _Commands)
    return parser.add_subparsers(
        title="commands", metavar="COMMAND", parser_class=Parser, prog=parser.prog, required=False
    )


def _filler(command: Command) -> Callable[[Parser], None]:
    def fill(parser: Parser) -> None:
        module = import_module(f"strongroom.cli.commands.{command.module}")
        parser.description = module.DESCRIPTION.strip()
        parser.epilog = module.EPILOG.strip()
        parser.set_defaults(command=command)
        module.define(parser)
        _add_common(parser)
        parser.usage = f"{parser.prog} [OPTIONS]" + "".join(
            f" {_usage_word(action)}" for action in parser._get_positional_actions()
        )

    return fill


def _usage_word(action: argparse.Action) -> str:
    word = str(action.metavar)
    if action.nargs in {"*", argparse.REMAINDER}:
        return f"[{word} ...]"
    if action.nargs == "+":
        return f"{word} [{word} ...]"
    return f"[{word}]" if action.nargs == "?" else word


def _add_common(parser: Parser, *, main: bool = False) -> None:
    group = parser.add_argument_group("common options")
    # absent unless given: what the other level said must not be overwritten
    add(group, (Option(flags, {"default": argparse.SUPPRESS, **keywords}) for flags, keywords in COMMON))
    if main:
        group.add_argument(
            "-V", "--version", action="version", version=f"{PROGRAM} {__version__}", help="show the version and exit"
        )
