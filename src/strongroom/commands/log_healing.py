"""Bring back records of the log that are damaged or missing: from a copy, or from this machine's cache.

No key is needed: records are signed and chained, and the one behind tells which one stood there. On a server
it is the server that looks.
"""

import msgspec

from strongroom.errors import Damaged, LogRolledBack, NotAReplica, ObjectExists, StoreRefused
from strongroom.repository import founding, log
from strongroom.repository.mending import LOST
from strongroom.repository.remains import ForkSeen, Remains, differs, read_remains
from strongroom.repository.repository import Repository
from strongroom.store.protocol import Store


class LogHealing(msgspec.Struct):
    healed: list[str] = []
    refused: list[str] = []  # sentences: what the store would not let us do
    lost: list[str] = []  # nobody that was asked has them


def examine_log(repository: Repository, copy: Store | None) -> Remains:
    """What is damaged, and what is known of it; the repository needs no key, and its log may be unread.

    Raises `NotAReplica` for a copy of another repository, `LogRolledBack` if a readable record is another one
    than the copy's, `LogBroken` for tampering, and the stores' errors.
    """
    witnesses = [repository.cache.record]
    if copy is None:
        return read_remains(repository.store, repository.empty_log(), witnesses, lambda _seq, _blob: False)
    config = copy.get(founding.NAME, 0, founding.MAX_SIZE)
    if founding.decode(config, copy.describe())[0] != repository.id:
        raise NotAReplica(f"{copy.describe()} holds another repository than {repository.store.describe()}.")
    there = {one.name for one in copy.list("log/")}

    def theirs(seq: int) -> bytes | None:
        if log.name(seq) not in there:
            return None
        try:
            return copy.get(log.name(seq))
        except LOST:
            return None

    try:
        return read_remains(
            repository.store,
            repository.empty_log(),
            [*witnesses, theirs],
            lambda seq, blob: differs(theirs(seq), blob),
        )
    except ForkSeen as error:
        raise LogRolledBack(
            f"{log.name(error.seq)} of {repository.store.describe()} is not damaged, but another one than in "
            f"{copy.describe()}: one of the two was replaced. Nothing was changed."
        ) from None


def heal_log(store: Store, remains: Remains) -> LogHealing:
    """Put back what is known, the last first: each proves the one before it. Raises the store's errors."""
    result = LogHealing(lost=[log.name(seq) for seq in remains.lost])
    refused = _put_back(store, remains, sorted(remains.known, reverse=True), result)
    if refused:  # what stands before them may have been damaged too
        refused = _put_back(store, remains, sorted(refused), result)
    result.refused += [f"{log.name(seq)} could not be brought back: {why}" for seq, why in refused.items()]
    return result


def _put_back(store: Store, remains: Remains, numbers: list[int], result: LogHealing) -> dict[int, str]:
    refused = {}
    for seq in numbers:
        try:
            store.mend_record(log.name(seq), remains.known[seq])
        except ObjectExists:  # somebody else was faster
            continue
        except (StoreRefused, Damaged) as error:
            refused[seq] = str(error)
        else:
            result.healed.append(log.name(seq))
    return refused
