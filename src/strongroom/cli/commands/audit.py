"""`strongroom audit`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import add_archive_filters, archive_filter
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.errors import AuditFailed
from strongroom.reporting import Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Tell whether a repository was tampered with: rolled back, forked, forged, or robbed of data."

EPILOG = """
The signed log is verified from its first record on: the chain of hashes, each signature, and whether
the key that signed was there, not revoked, and had the right to. Then all that the log names is
looked for: packs, index, archives, refs and keys, with their sizes and, with --hash, all their bytes.

The log is compared with the newest one that this machine has seen, and with heads that others saw:
each audit prints its head as SEQ:HASH; hand it to --expect on another machine, or a file with it,
the JSON report of another audit, or the file `head` of a security folder. Where other commands
refuse a repository, audit goes on, and names each record and object.

Each archive is compared with the one before it, and what looks like ransomware, or like loss, is
flagged: for a person to judge. --with-key does that by files, and asks for the passphrase; without
it, by what the server sees. Archive filters choose which archives are judged.

No key is needed and no passphrase asked otherwise. Run it on the client, on the server (give the path of the
repository's folder there), or, best, on a third machine: see docs/audit.md.

The exit code is 0 if all is sound, 1 if something is there for a person to judge, 2 for tampering
and loss.

examples:
    strongroom audit ssh://backup@host/./laptop
    strongroom audit --with-key --newer 30d /mnt/backup
    strongroom audit --hash /srv/backup/laptop
    strongroom audit --expect 17:5f0a… --expect other-machine.json --json /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to audit")
    parser.add_argument(
        "--hash", dest="hash_packs", action="store_true",
        help="read all packs and compare their bytes with their names",
    )  # fmt: skip
    parser.add_argument(
        "--expect", metavar="HEAD", dest="expected", action="append", type=types.path, default=[],
        help="a head that somebody saw, SEQ:HASH or a file that holds one; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--with-key", action="store_true",
        help="open the archives with a key, to judge what changed in them by their files",
    )  # fmt: skip
    parser.add_argument(
        "--thresholds", metavar="FILE", type=types.path, default=None,
        help="a TOML file that says what counts as suspicious, see docs/audit.md",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_archive_filters(parser, sort_by=False)


def run(session: "Session") -> None:
    from strongroom.cli import audit_report
    from strongroom.monitor.audit import AuditOptions, audit
    from strongroom.monitor.heads import expected_head
    from strongroom.monitor.thresholds import Thresholds, read_thresholds

    args = session.args
    options = AuditOptions(
        hash_packs=args.hash_packs,
        expected=tuple((one, expected_head(one)) for one in args.expected),
        passphrases=session.passphrases if args.with_key else None,
        archives=archive_filter(args, session.placeholders),
        thresholds=read_thresholds(args.thresholds) if args.thresholds else Thresholds(),
    )
    location = session.location.canonical()
    session.apply_transport()
    report = audit(location, session.directories, options, session.output)
    if args.json:
        session.print_json(audit_report.record(report))
    else:
        session.print_lines(audit_report.lines(report, iec=args.iec))
    bad, odd = len(report.findings.of("tampering", "loss")), len(report.findings.of("warning"))
    if bad:
        findings = "finding" if bad == 1 else "findings"
        raise AuditFailed(
            f"{bad} {findings} of tampering or loss in {report.location}: see the report. Do not write to "
            "the repository before you know the reason; compare it with a second copy."
        )
    if odd:
        findings = "finding is" if odd == 1 else "findings are"
        session.output.warn(Notice(f"{odd} {findings} for a person to judge.", msgid="Audit.Suspicious"))
