"""The command line: a parser that knows every command by name and loads the one that is used.

Common options stand before or after the command, as in Borg. Each command is a module of
`strongroom.cli.commands` with `define(parser)`, `run(session)`, a DESCRIPTION and an EPILOG.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn, cast

from strongroom import __version__
from strongroom.cli import identity
from strongroom.cli.commands import COMMANDS, GROUPS, Command
from strongroom.cli.options import COMMON, COMMON_DEFAULTS, DEPRECATED, Option, add

# what a command's first argument names
ARCHIVE = "archive"
REPOSITORY = "repository"
EITHER = "either"


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, width: int | None = None) -> None:
        super().__init__(prog, max_help_position=32, width=width)


class Parser(argparse.ArgumentParser):
    """A parser that is made and filled when it is first used; `with_repo`: `-r` names the repository.

    A run uses one of eighty: making them all would take longer than many a command.
    """

    def __init__(
        self, *, fill: "Callable[[Parser], None] | None" = None, with_repo: bool = False, **more: Any
    ) -> None:
        self._fill = fill
        self.with_repo = with_repo
        self.leftovers_to: str | None = None
        self._shows = False
        self._made_with: dict[str, Any] | None = {"add_help": False} | more

    def _make(self) -> None:
        if self._made_with is not None:
            made_with, self._made_with = self._made_with, None
            super().__init__(**made_with)

    def __getattr__(self, name: str) -> Any:
        """What a parser has once it is made."""
        if self.__dict__.get("_made_with") is None:
            raise AttributeError(f"a parser has no {name}")
        self._make()
        return getattr(self, name)

    def filled(self) -> "Parser":
        self._make()
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        return self

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.filled()
        found, extras = super().parse_known_args(args, namespace)
        if self.leftovers_to:
            # argparse gives up on a list of positionals that an option interrupts: `a --stats b`
            at = extras.index("--") if "--" in extras else len(extras)
            words = [word for word in extras[:at] if word == "-" or not word.startswith("-")]
            words += extras[at + 1 :]
            setattr(found, self.leftovers_to, [*getattr(found, self.leftovers_to), *words])
            extras = [word for word in extras[:at] if word not in words]
        return found, extras

    def format_help(self) -> str:
        self._shows = True
        return identity.as_called(super(Parser, self.filled()).format_help())

    def format_usage(self) -> str:
        self._shows = True
        return super(Parser, self.filled()).format_usage()

    def _get_formatter(self) -> argparse.HelpFormatter:
        # argparse has each argument looked at by one, which would ask for the terminal's width each time
        return _Help(self.prog) if self._shows else _Help(self.prog, width=80)

    def print_usage(self, file: Any = None) -> None:
        super(Parser, self.filled()).print_usage(file)

    def error(self, message: str) -> NoReturn:
        """One sentence, not argparse's pages of usage."""
        message = re.sub(
            r"argument COMMAND: invalid choice: ('.*?') \(.*", r"there is no command \1", message
        )
        self.exit(2, f"{self.prog}: {message}.\nSee: {self.prog} --help\n")

    def paths(self, metavar: str, words: str, dest: str = "paths", **more: Any) -> None:
        """The rest of the arguments."""
        self.add_argument(dest, metavar=metavar, nargs="*", action="extend", default=[], help=words, **more)
        self.leftovers_to = dest

    def location(self, expects: str, words: str, *, required: bool = False) -> None:
        """The argument that names a repository, an archive, or either."""
        self.set_defaults(expects=expects, location="")
        if expects == ARCHIVE:
            self.add_argument("location", metavar="ARCHIVE", help=words)
        elif not self.with_repo:
            metavar = "REPOSITORY" if expects == REPOSITORY else "REPOSITORY_OR_ARCHIVE"
            nargs = None if required else "?"
            self.add_argument("location", metavar=metavar, nargs=nargs, default="", help=words)
        elif expects == EITHER:
            self.add_argument("location", metavar="ARCHIVE", nargs="?", default="", help=words)


class _Commands(argparse._SubParsersAction):  # type: ignore[type-arg]
    """Hands the namespace on to the command's parser, so that a common option counts wherever it stands."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        name, *rest = values
        chosen = cast("Parser", self._name_parser_map[name])
        _, extras = chosen.parse_known_args(rest, namespace)
        if extras:
            chosen.error(f"unrecognized arguments: {' '.join(extras)}")


def build(*, with_repo: bool = False) -> Parser:
    """The parser of the whole program. No command's module is loaded yet."""
    program = identity.called()
    parser = Parser(
        prog=program,
        usage="%(prog)s [OPTIONS] COMMAND ...",
        description="Deduplicating, encrypted backups to servers that need not be trusted.",
        epilog="Help on a command: strongroom COMMAND --help. Help on patterns, placeholders and more: "
        "strongroom help.\n\nexample:\n"
        "    strongroom init --encryption repokey /mnt/backup\n"
        "    strongroom create --stats /mnt/backup::'{hostname}-{now}' ~/documents",
    )
    parser.set_defaults(**COMMON_DEFAULTS)
    _add_commands(parser, "", with_repo)
    return parser


def _add_commands(parser: Parser, group: str, with_repo: bool) -> None:
    """Those of a group; the one without a name holds the groups, too."""
    program = identity.called()
    commands = _subcommands(parser)
    _add_common(parser, main=not group)
    for command in COMMANDS:
        inner, _, name = command.name.rpartition(" ")
        if inner == group:
            commands.add_parser(
                name,
                prog=f"{program} {command.name}",
                help=command.help,
                fill=_filler(command),
                with_repo=with_repo,
            )
        elif not group and inner not in commands.choices:
            about = GROUPS[inner]
            commands.add_parser(
                inner,
                usage=f"{program} {inner} COMMAND ...",
                help=about,
                description=about[0].upper() + about[1:] + ".",
                fill=_group_filler(inner, with_repo),
            )


def _group_filler(group: str, with_repo: bool) -> Callable[[Parser], None]:
    def fill(parser: Parser) -> None:
        parser.set_defaults(group_parser=parser)
        _add_commands(parser, group, with_repo)

    return fill


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line. Exits with help or a usage error, as argparse does."""
    words = list(words)
    if identity.is_borgfs() and words not in (["-V"], ["--version"]):
        words = ["mount", *words]
    for word in words[: words.index("--") if "--" in words else None]:
        reason = DEPRECATED.get(word.split("=")[0])
        if reason:
            print(f"Warning: {word.split('=')[0]} is deprecated: {reason}.", file=sys.stderr)
    parser = build()
    found = parser.parse_args(words or ["--help"])
    if found.repo is not None:
        # only now is it known that the arguments name archives alone
        found = build(with_repo=True).parse_args(words)
    found.words = words
    if not hasattr(found, "command"):
        getattr(found, "group_parser", parser).print_help()
        parser.exit(0)
    return found


def leaf(parser: Parser, name: str) -> Parser:
    """The parser of a command or group, like "key export". Raises `KeyError`."""
    for word in name.split():
        action = next(a for a in parser.filled()._actions if isinstance(a, _Commands))
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
            "-V",
            "--version",
            action="version",
            version=identity.version_line(__version__),
            help="show the version and exit",
        )
