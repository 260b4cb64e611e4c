"""`strongroom check`."""

import contextlib
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import add_archive_filters, archive_filter, has_archive_filter
from strongroom.cli.arguments import EITHER, Parser
from strongroom.cli.printable import printable
from strongroom.errors import Cancelled, CommandError
from strongroom.reporting import Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.check import CheckOptions
    from strongroom.commands.results import CheckResult, Problem
    from strongroom.repository.repository import Repository
    from strongroom.store.protocol import Store

DESCRIPTION = "Verify a repository and its archives; with --repair, put right what can be."

EPILOG = """
Two things are checked:

1. The repository: the log continues itself, every object that it names is there, and holds the
   bytes that its name promises; of packs, the size and the table of contents. This needs no key.
2. The archives: the folders of each can be read, and every chunk that a file uses exists.

With --verify-data the packs are read whole, and every chunk is opened and compared with its id:
the surest check, and the slowest. --repository-only and --archives-only do one of the two.
--repository-only --verify-data compares all bytes of packs with their names, without a key, so that
any machine can do it. --max-duration stops the check of the packs after a while; the next run with
it goes on from there.

The exit code is 1 if anything is wrong, and each finding is printed.

With --repair, what was found is put right as far as anything else tells what it was. Packs are healed
by their parity ("strongroom protect"), if there is enough of it, and everything else from the copy that
--fallback names, if it has it. Where both fail, damaged index objects come back from the packs, refs
from the folders, archives and log records from this machine's cache; what is sound of a damaged pack is
copied into a new one. While a record of the log is lost, nothing else is repaired.

You are asked first, and see what will be done; the answer must
be YES. It needs an admin key, and a server that lets you remove damaged objects (not --append-only:
there, it only heals by parity and from the copy). It may be stopped at any point and run again.

A repository that Borg made (borg:/path) is checked likewise: the checksums of all that is stored, and
that every archive and file is whole; --verify-data opens every object. It is never written to.

examples:
    strongroom check /mnt/backup
    strongroom check --verify-data --progress --last 1 /mnt/backup
    strongroom check --repository-only --verify-data --max-duration 3600 /mnt/backup
    strongroom check --repair --verify-data /mnt/backup
    strongroom check --repair --fallback ssh://second.example.org/./laptop /mnt/backup
"""


_HINT = [
    "If you have a second copy of the repository, it may still hold what is lost here: answer NO, and name",
    "it with --fallback.",
]


def define(parser: Parser) -> None:
    parser.location(EITHER, "repository or archive to check")
    parser.add_argument(
        "--repository-only", dest="repo_only", action="store_true", help="check only what needs no key"
    )
    parser.add_argument("--archives-only", action="store_true", help="check only the archives")
    parser.add_argument(
        "--verify-data", action="store_true", help="read and open all data of the archives too"
    )
    parser.add_argument(
        "--repair", action="store_true", help="put right what is damaged; you are asked first"
    )
    parser.add_argument("--save-space", action="store_true", help="accepted for compatibility")
    parser.add_argument(
        "--max-duration", metavar="SECONDS", type=types.natural, default=0,
        help="check part of the repository, for SECONDS at most (default: no limit)",
    )  # fmt: skip
    add_archive_filters(parser)


def run(session: "Session") -> None:
    from strongroom.commands.check import CheckOptions, check_repository
    from strongroom.repository.keyfiles import Need

    args = session.args
    name = session.location.archive
    chosen = has_archive_filter(args) or name is not None
    if args.repair and args.max_duration:
        raise CommandError("--repair does not allow --max-duration.")
    if args.repo_only and (args.archives_only or chosen):
        raise CommandError("--repository-only contradicts --archives-only and choosing archives.")
    if args.max_duration and not args.repo_only:
        raise CommandError("--max-duration needs --repository-only.")
    if name is not None and has_archive_filter(args):
        raise CommandError("Archive filters go with a repository, not with a single archive.")
    options = CheckOptions(
        verify_data=args.verify_data,
        repository_only=args.repo_only,
        archives_only=args.archives_only,
        max_duration=args.max_duration or None,
        archive=name,
        archives=archive_filter(args, session.placeholders),
    )
    if session.location.is_borg:
        _show(session, _check_borg(session, options))
        return
    if args.fallback is not None and not args.repair:
        raise CommandError("With check, --fallback needs --repair: it names the copy to repair from.")
    healed = _repair_log(session) if args.repair else None
    repairs = healed is not None
    need = Need.ADMIN if repairs else Need.STRUCTURE if args.repo_only else Need.READ
    with session.open(need) as repository:
        result = check_repository(repository, options, session.output)
        if repairs:
            result = _repair(session, repository, options, result)
    _show(session, result, "Everything is whole again." if healed else "No problems found.")


def _show(session: "Session", result: "CheckResult", fine: str = "No problems found.") -> None:
    for problem in result.problems:
        session.output.warn(Notice(_text(problem), msgid="check"))
    _sum_up(session, result)
    if not result.finished:
        session.output.info("The time is up: the next run with --max-duration goes on from here.")
    if not result.problems:
        session.output.info(fine)


def _sum_up(session: "Session", result: "CheckResult") -> None:
    """In Borg's words."""
    from strongroom.commands.results import Part

    args, output = session.args, session.output
    archives = sum(problem.part in (Part.ARCHIVE, Part.REFS, Part.FILE) for problem in result.problems)
    if not args.archives_only:
        extent = "partial" if args.max_duration else "full"
        found = "errors found" if archives < len(result.problems) else "no problems found"
        output.info(f"Finished {extent} repository check, {found}.")
    if not args.repo_only:
        output.info(f"Archive consistency check complete, {'' if archives else 'no '}problems found.")


def _check_borg(session: "Session", options: "CheckOptions") -> "CheckResult":
    from strongroom.borg.checking import check_borg

    if session.args.repair:
        raise CommandError(
            f"{session.location.repository()} is a Borg repository: it is never written to. Repair a copy of "
            "it with `borg check --repair`."
        )
    repository = session.open_borg(session.location)
    with repository:
        return check_borg(repository, options, session.output)


def _text(problem: "Problem") -> str:
    return f"{printable(problem.object)}: {printable(problem.what)}"


def _repair_log(session: "Session") -> int | None:
    """First of all: the rest is judged by it. How many records were healed; None if some stay lost."""
    from strongroom.commands.log_healing import examine_log, heal_log
    from strongroom.commands.opening import open_store, open_structure
    from strongroom.repository import log

    output, here = session.output, session.location.canonical()
    session.apply_transport()
    with contextlib.ExitStack() as opened:
        copy = None
        if session.args.fallback is not None:
            copy = open_store(session.second_location(session.args.fallback))
            opened.callback(copy.close)
        store = open_store(here)
        opened.callback(store.close)
        remains = examine_log(opened.enter_context(open_structure(store, here, session.directories)), copy)
        healed = 0
        if remains.known:
            question = "\n".join(
                [
                    f"This will be done to repair the log of {here}:",
                    *(f"- {log.name(seq)} is brought back" for seq in sorted(remains.known)),
                    "Type 'YES' if you understand this and want to continue: ",
                ]
            )
            _ask(session, question)
            healing = heal_log(store, remains)
            for name in healing.healed:
                output.info(f"{name} was healed")
            _tell_hopeless(session, healing.refused)
            if healing.refused:
                return None
            healed = len(healing.healed)
        if remains.lost:
            _tell_hopeless(session, ["Nothing else is repaired while records of the log are lost."])
        return None if remains.lost else healed


def _ask(session: "Session", question: str) -> None:
    if not session.questions.confirm_danger(question, "CHECK_I_KNOW_WHAT_I_AM_DOING"):
        raise Cancelled("Nothing was repaired: the answer was not YES.")


def _repair(
    session: "Session", repository: "Repository", options: "CheckOptions", found: "CheckResult"
) -> "CheckResult":
    """What is still wrong afterwards."""
    from strongroom.commands.opening import open_store

    if session.args.fallback is None:
        return _repair_from(session, repository, options, found, None)
    copy = open_store(session.second_location(session.args.fallback))
    try:
        return _repair_from(session, repository, options, found, copy)
    finally:
        copy.close()


def _repair_from(
    session: "Session",
    repository: "Repository",
    options: "CheckOptions",
    found: "CheckResult",
    copy: "Store | None",
) -> "CheckResult":
    from strongroom.commands.repair import plan_repair, repair_repository

    output = session.output
    for problem in found.problems:
        output.emit("warning", _text(problem), msgid="check")
    plan = plan_repair(repository, found, copy)
    if plan.is_empty:
        _tell_hopeless(session, plan.hopeless)
        return found
    question = "\n".join(
        [
            f"This will be done to repair {session.location.canonical()}:",
            *(f"- {line}" for line in plan.lines()),
            *(f"- not repaired: {printable(line)}" for line in plan.hopeless),
            *(_HINT if copy is None and not plan.freeing.is_empty else []),
            "Type 'YES' if you understand this and want to continue: ",
        ]
    )
    _ask(session, question)
    result = repair_repository(repository, plan, options, output, copy)
    for line in result.lines():
        output.info(line)
    _tell_hopeless(session, [*result.refused, *result.hopeless])
    if not result.left.problems:
        output.info("Everything is whole again.")
    return result.left


def _tell_hopeless(session: "Session", lines: list[str]) -> None:
    for line in lines:
        session.output.warn(Notice(printable(line), msgid="check"))
