"""Whether everything that a server keeps is what it was when it came: no key is needed to see that."""

import time
from collections.abc import Sequence

import msgspec

from strongroom.commands.check import CheckOptions, CheckResult, check_repository
from strongroom.commands.opening import Directories
from strongroom.commands.results import Problem
from strongroom.errors import StrongroomError
from strongroom.reporting import Reporter
from strongroom.repository.repository import Repository
from strongroom.server.kept import Kept, each, kept


class Verified(msgspec.Struct, frozen=True):
    kept: Kept
    packs: int
    archives: int
    problems: list[Problem]
    finished: bool  # False: the time was up


def verify(
    folder: str,
    names: Sequence[str],
    directories: Directories,
    reporter: Reporter,
    *,
    max_duration: float | None = None,
) -> list[Verified]:
    """Compare every byte of the clients' repositories, all clients' if none is named.

    `max_duration`, in seconds, is shared out evenly: each repository is verified for a while, from where
    the last such run came to. Raises `CommandError`.
    """
    places = kept(folder, names)
    until = None if max_duration is None else time.monotonic() + max_duration
    left = len(places)

    def check(one: Kept, repository: Repository) -> CheckResult:
        nonlocal left
        share = None if until is None else max(0.0, until - time.monotonic()) / left
        left -= 1
        reporter.info(f"Verifying {one.name}.")
        options = CheckOptions(verify_data=True, repository_only=True, max_duration=share)
        return check_repository(repository, options, reporter)

    return [_verified(one, result) for one, result in each(places, directories, check)]


def _verified(one: Kept, result: CheckResult | StrongroomError) -> Verified:
    if isinstance(result, StrongroomError):
        return Verified(one, 0, 0, [Problem(one.name, str(result))], True)
    return Verified(one, result.packs, result.archives, result.problems, result.finished)
