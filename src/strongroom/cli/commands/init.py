"""`strongroom init`."""

from typing import TYPE_CHECKING, get_args

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.formats import format_size
from strongroom.cli.identity import as_called
from strongroom.cli.printable import printable
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.init import InitResult

MODES = ("none", "keyfile", "repokey", "authenticated")
_BORG_MODES = {f"{mode}-blake2": mode for mode in ("keyfile", "repokey", "authenticated")}

DESCRIPTION = "Create an empty repository: a folder, on this machine or on a server, that archives go into."

EPILOG = """
--encryption decides what is secret, and where the key is kept:

  repokey        Everything is encrypted. The key, protected by your passphrase, lies in the
                 repository: the passphrase alone gives access.
  keyfile        Everything is encrypted. The key, protected by your passphrase, lies on this
                 machine only, below ~/.config/strongroom/keys: whoever takes the server has
                 nothing to try passphrases on, but without a copy of the key all is lost.
  authenticated  Nothing is encrypted, but everything is signed.
  none           Nothing is encrypted, and no passphrase is asked for.

Borg's words repokey-blake2, keyfile-blake2 and authenticated-blake2 are accepted too; all modes
use BLAKE3, AES-256-GCM and a post-quantum key exchange. Choose the passphrase well, and keep a
copy of it and of the key (strongroom key export) away from this machine.

With --backup-key this machine gets a second key, without passphrase, for backups that run
unattended. It can add archives; it can neither open one, its own included, nor free anything. Take
the first key, the admin key, to a safe place and away from this machine: whoever breaks in here
then finds nothing that opens the backups.

A server that "strongroom server init" set up offers a key of its own, by which its owner may run "server
prune" and "server compact": so clients never need to delete. It can delete archives and free what
was deleted, all of it signed in the log; it reads nothing and adds nothing. --no-server-key refuses it.

examples:
    strongroom init --encryption keyfile --backup-key ssh://backup@server/./laptop
    strongroom init --encryption repokey /mnt/backup/laptop
    strongroom init --encryption keyfile ssh://backup@server/./laptop
    strongroom init -e repokey --make-parent-dirs --storage-quota 500G /srv/backup/laptop
"""

ADVICE = """
IMPORTANT: you will need both KEY AND PASSPHRASE to access this repository!

{where}

Now
1. export the key, and keep the result in a safe place that is not this machine:
   strongroom key export           {location} encrypted-key-backup
   strongroom key export --paper   {location} encrypted-key-backup.txt
   strongroom key export --qr-html {location} encrypted-key-backup.html
2. write down the passphrase, and keep it in a safe place too.
"""

BACKUP_KEY_ADVICE = """
This machine backs up with a key of its own, which needs no passphrase, and opens nothing:
  {path}
{admin}
"""

SERVER_KEY_ADVICE = """
The server's owner may delete archives of this repository by retention rules, and free their space after the
quarantine: "strongroom key list" shows the key "server", --no-server-key would have refused it, and
"strongroom key revoke :: server" takes it back. It opens nothing.
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to create")
    parser.add_argument(
        "-e", "--encryption", metavar="MODE", required=True, choices=[*MODES, *_BORG_MODES],
        help=f"one of {', '.join(MODES)} (required, see below)",
    )  # fmt: skip
    parser.add_argument(
        "--append-only", action="store_true", default=False,
        help="only accept additions to this repository, whichever key and client asks",
    )  # fmt: skip
    parser.add_argument(
        "--storage-quota", metavar="QUOTA", type=types.storage_quota, default=None,
        help="let the repository grow to QUOTA bytes at most, e.g. 5G or 1.5T (default: no quota)",
    )  # fmt: skip
    parser.add_argument(
        "--backup-key", action="store_true",
        help="also make a key for this machine that writes archives and cannot read them",
    )  # fmt: skip
    parser.add_argument(
        "--no-server-key", action="store_true",
        help="do not let the server's owner delete archives by retention rules and compact",
    )  # fmt: skip
    parser.add_argument(
        "--parity", metavar="PERCENT", type=types.parity, default=None,
        help="add parity of that size to all data, e.g. 5%%, against sectors that rot (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--reserve", metavar="SIZE", type=types.size, default=None,
        help="keep SIZE of the disk for deleting and compacting when it is full, e.g. 500M; 0 for nothing "
        "(default: a hundredth of the disk, 64 MiB at the most)",
    )  # fmt: skip
    parser.add_argument(
        "--quarantine", metavar="TIME", type=types.quarantine_days, default=None,
        help="how long what was deleted can come back before compact frees it, in whole days, as 90d or 8w "
        "(default: 30d)",
    )  # fmt: skip
    parser.add_argument("--make-parent-dirs", action="store_true", help="create missing parent folders too")
    parser.add_argument(
        "--import-related-secrets", metavar="PATH", type=types.path, default=None,
        help="not supported: strongroom repositories never share secrets",
    )  # fmt: skip


def run(session: "Session") -> None:
    from strongroom.commands.init import Encryption, InitOptions, init_repository
    from strongroom.repository.parity import require_zfec

    args = session.args
    if args.import_related_secrets is not None:
        raise CommandError(
            "--import-related-secrets is not supported: every strongroom repository has secrets of its own."
        )
    mode: Encryption = _BORG_MODES.get(args.encryption, args.encryption)
    assert mode in get_args(Encryption)
    if args.parity:
        require_zfec()
    session.apply_transport()
    location = session.location.canonical()
    session.output.info(f'Initializing repository at "{location}"')
    result = init_repository(
        location,
        InitOptions(
            encryption=mode,
            append_only=args.append_only,
            make_parent_dirs=args.make_parent_dirs,
            storage_quota=args.storage_quota,
            parity=args.parity,
            reserve=args.reserve,
            quarantine=args.quarantine,
            backup_key=args.backup_key,
            admit_server=not args.no_server_key,
        ),
        session.directories,
        session.passphrases,
    )
    if mode != "none":
        where = f"The key is stored in {printable(str(result.key_location))}."
        if mode == "repokey":
            where = "The key is stored in the repository, protected by the passphrase."
        advice = as_called(ADVICE).format(where=where, location=printable(location))
        session.output.log("warning", advice)
    if result.reserve < (args.reserve or 0):
        kept, asked = (format_size(size, iec=args.iec) for size in (result.reserve, args.reserve))
        session.output.log(
            "warning",
            f"Of {asked} that were to be kept for a full disk, {kept} are: there is no room for more.",
        )
    if result.server_key is not None:
        session.output.log("warning", SERVER_KEY_ADVICE)
    if result.backup_key_path is not None:
        advice = BACKUP_KEY_ADVICE.format(
            path=printable(str(result.backup_key_path)), admin=where_admin(result)
        )
        session.output.log("warning", advice)


def where_admin(result: "InitResult") -> str:
    if result.key_path is None:
        return "The admin key needs the passphrase: do not leave that on this machine."
    return f"Take the admin key away from this machine, when you have copies of it:\n  {result.key_path}"
