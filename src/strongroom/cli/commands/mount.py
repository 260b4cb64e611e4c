"""`strongroom mount`."""

import os
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli import identity
from strongroom.cli.argument_groups import (
    add_archive_filters,
    add_patterns,
    archive_filter,
    ignore_archive_filter,
)
from strongroom.cli.arguments import EITHER, Parser
from strongroom.cli.options import add, option
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.cli.session import Session

DESCRIPTION = "Show an archive, or all archives of a repository, as folders."

EPILOG = """
Of a repository each archive is a folder, read when it is entered; by-name, by-host and by-date hold
links to them, and latest is the newest one. With -o versions all archives are one tree, in which
each file is a folder of its different versions, oldest first. With PATHs or patterns only what
matches is shown.

The command returns when all is mounted, and works on in the background until "strongroom umount"
or until its process gets SIGTERM; what it has to say then goes to mount.log in the cache folder. With
--foreground it stays, and Ctrl-C ends it. A file whose data is damaged gives an input/output error.

mount options (-o, separated by commas; others go to libfuse as they are):
  allow_other         let other users in; permissions count as in the archive
  ignore_permissions  let everybody who is let in read everything
  uid=N, gid=N        the owner and group of all files
  umask=M             permissions to take away, octal
  versions            all archives as one tree, with all versions of each file
  suid, dev           let set-id programs and device nodes work; they do not, unless asked for

examples:
    strongroom mount /mnt/backup /tmp/archives
    strongroom mount /mnt/backup::monday /tmp/monday home/me/documents
    strongroom mount -o versions --glob-archives 'laptop-*' --last 30 /mnt/backup /tmp/versions
    strongroom umount /tmp/archives
"""

_OPTIONS = (
    option("-f", "--foreground", action="store_true", help="stay in the foreground"),
    option("-o", metavar="OPTIONS", dest="mount_options", action="append", default=[], help="mount options"),
    option("--numeric-ids", action="store_true", help="show users and groups by number, not by name"),
    option("--numeric-owner", dest="numeric_ids", action="store_true", help="deprecated, use --numeric-ids"),
    option(
        "--consider-checkpoints",
        action="store_true",
        help="accepted for compatibility: there are no checkpoints",
    ),
)


def define(parser: Parser) -> None:
    parser.location(EITHER, "repository or archive to mount", required=True)
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="folder to mount on")
    parser.paths("PATH", "paths to show; patterns are supported", type=types.path)
    add(parser, _OPTIONS)
    add_archive_filters(parser)
    add_patterns(parser, strip=True)


def run(session: "Session") -> None:
    from strongroom.cli.background import leave

    if session.args.foreground:
        _serve(session, lambda: None)
        return
    # at once: a fork is cheap as long as little is loaded, and must come before all threads
    ready = leave(session.directories.cache / "mount.log")
    if ready is None:
        return

    place = os.path.abspath(session.args.mountpoint)

    def in_background() -> None:
        ready()
        session.output.dated = True
        session.output.info(f"mounted on {place}, process {os.getpid()}")

    _serve(session, in_background)


def _serve(session: "Session", mounted: "Callable[[], None]") -> None:
    from strongroom.repository.keyfiles import Need

    args = session.args
    ignore_archive_filter(session)
    session.expect(Need.READ)
    from strongroom.commands.mount import check_mountpoint, load_fuse, mount, parse_options

    given = _without_mounts_own(args.mount_options) if identity.is_borgfs() else args.mount_options
    options = parse_options([f"fsname={identity.device()}", *given])
    if session.location.archive and options.versions:
        raise CommandError("-o versions shows many archives: REPOSITORY is expected, without an archive.")
    mountpoint = check_mountpoint(args.mountpoint)
    load_fuse()
    matcher = session.patterns.for_reading(args.paths)  # all that can be done before the key is open
    with session.open(Need.READ, lasting=True) as repository:
        mount(
            repository,
            session.location.archive or None,
            archive_filter(args, session.placeholders),
            matcher,
            args.strip_components,
            mountpoint,
            options,
            session.output,
            mounted,
            numeric_ids=args.numeric_ids,
        )


_MOUNTS_OWN = frozenset(
    {"defaults", "rw", "suid", "dev", "exec", "auto", "noauto", "user", "users", "nofail", "_netdev"}
)


def _without_mounts_own(texts: list[str]) -> list[str]:
    """What mount(8) says for every line of fstab that does not say otherwise counts for nothing."""
    words = [word for text in texts for word in text.split(",")]
    return [word for word in words if word not in _MOUNTS_OWN and not word.startswith("x-")]
