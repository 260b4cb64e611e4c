"""`strongroom help`: topics, and the same pages as `COMMAND --help`."""

from importlib.resources import files
from typing import TYPE_CHECKING

from strongroom.cli.arguments import Parser, build, leaf
from strongroom.cli.commands import COMMANDS, GROUPS
from strongroom.cli.identity import as_called
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session

TOPICS: dict[str, str] = {
    "patterns": "how to choose files: --exclude, --pattern, PATH arguments",
    "match-archives": "how to choose archives: --glob-archives, --first, --last",
    "placeholders": "{hostname}, {now} and the like, in names and locations",
    "compression": "the words that --compression takes",
    "locations": "how to write where a repository is",
    "environment": "the environment variables that are read",
    "exit-codes": "what the exit code says",
}

DESCRIPTION = "Show help on a topic or a command."

EPILOG = (
    "topics:\n"
    + "\n".join(f"  {name:<16} {about}" for name, about in TOPICS.items())
    + "\n\nexamples:\n    strongroom help patterns\n    strongroom help key export"
)


def define(parser: Parser) -> None:
    parser.add_argument("topic", metavar="TOPIC", nargs="*", help="a topic, or a command")
    parser.add_argument(
        "--epilog-only", action="store_true", help="of a command, show only the text after the options"
    )
    parser.add_argument("--usage-only", action="store_true", help="of a command, show only its options")


def run(session: "Session") -> None:
    args = session.args
    topic = " ".join(args.topic)
    if not topic:
        session.output.write(build().format_help() + "\n" + EPILOG + "\n")
    elif topic in TOPICS:
        session.output.write(topic_text(topic))
    elif topic in {command.name for command in COMMANDS} | set(GROUPS):
        parser = leaf(build(), topic)
        if args.epilog_only:
            session.output.write(f"{parser.epilog}\n")
            return
        if args.usage_only:
            parser.epilog = None
        session.output.write(parser.format_help())
    else:
        raise CommandError(
            f'There is no help on "{topic}". Topics: {", ".join(TOPICS)}. '
            f"Commands: {', '.join(command.name for command in COMMANDS)}."
        )


def topic_text(topic: str) -> str:
    text = files("strongroom.cli").joinpath("topics", f"{topic}.txt").read_text("utf-8")
    return as_called(text)
