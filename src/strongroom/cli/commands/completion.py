"""`strongroom completion`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import Parser, build, leaf
from strongroom.cli.commands import COMMANDS
from strongroom.cli.identity import called

if TYPE_CHECKING:
    from strongroom.cli.session import Session

SHELLS = ("bash", "zsh", "fish", "tcsh")

DESCRIPTION = "Print a script that teaches a shell to complete strongroom's commands and options."

EPILOG = """
examples:
    strongroom completion bash > ~/.local/share/bash-completion/completions/strongroom
    strongroom completion zsh > ~/.zfunc/_strongroom
    strongroom completion fish > ~/.config/fish/completions/strongroom.fish
"""


def define(parser: Parser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def run(session: "Session") -> None:
    import shtab

    parser = build()
    for command in COMMANDS:
        leaf(parser, command.name)
    session.output.write(shtab.complete(parser, shell=session.args.shell, root_prefix=called()) + "\n")
