"""Under which name the program runs: its own, or `borg`, for tools that know no other one.

`strongroom install-borg-alias` puts that name beside the program's own. It changes words only: what a
version is called, names in the log, the commands that help texts show. `borgfs`, which it puts there too, is
`borg mount`, as mount(8) starts it.
"""

import os
import re
import sys

OWN = "strongroom"
BORG = "borg"
BORGFS = "borgfs"
BORG_LEVEL = "1.4.5"
"""The Borg whose command line this program follows: what tools are told that ask for the version."""


def called() -> str:
    """The name that the user typed: OWN or BORG."""
    return BORG if is_borg() else OWN


def is_borg() -> bool:
    return os.path.basename(sys.argv[0]) in (BORG, BORGFS)


def is_borgfs() -> bool:
    return os.path.basename(sys.argv[0]) == BORGFS


def version_line(own: str) -> str:
    """What `--version` prints; `own` is this program's version. Tools read the second word as Borg's."""
    return f"{BORG} {BORG_LEVEL}" if is_borg() else f"{OWN} {own}"


def version_shown(own: str) -> str:
    """What `--show-version` logs."""
    return f"borgbackup version {BORG_LEVEL}" if is_borg() else f"{OWN} version {own}"


def device() -> str:
    """The first word of a mount's line in /proc/mounts: Vorta unmounts nothing that has another one."""
    return BORGFS if is_borg() else OWN


def logger(name: str) -> str:
    """The name of a logger in `--log-json`: "strongroom.output.stats", or Borg's."""
    if is_borg() and name == OWN:
        return f"{BORG}.archiver"  # where Borg's own messages come from
    return f"{called()}{name.removeprefix(OWN)}"


def variable(name: str) -> str:
    """The environment variable that messages name: STRONGROOM_X, or BORG_X."""
    return f"{called().upper()}_{name}"


def as_called(words: str) -> str:
    """A help text, its commands under the name that was typed."""
    if not is_borg():
        return words
    # a command begins a line or a quotation; "~/.config/strongroom" stays what it is
    return re.sub(
        rf'(^|[\s("`;]){OWN} (?=[a-z-]+[\s"`.,:)]|\S*[A-Z])', rf"\1{BORG} ", words, flags=re.MULTILINE
    )


def advice_as_called(message: str) -> str:
    """A message with the command that it advises: that stands in backquotes, other words are no commands."""
    return message.replace(f"`{OWN} ", f"`{BORG} ") if is_borg() else message
