"""The one place that says what a client may do: every request against every restriction."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from strongroom.errors import StoreRefused
from strongroom.server.objects import AREAS, area_of, areas_below


class Verb(StrEnum):
    CREATE = "create"  # a repository
    GET = "get"
    LIST = "list"
    PUT = "put"
    APPEND = "append"  # a log record
    DELETE = "delete"


class Restriction(StrEnum):
    """The words of a forced command. Several together forbid what each of them forbids."""

    APPEND_ONLY = "append-only"
    READ_ONLY = "read-only"
    WRITE_ONLY = "write-only"


Act = tuple[Verb, str]  # the verb and the area that it touches; "" for the repository as a whole

_ALL = frozenset(AREAS)
# Leases are advice: to lose one wastes work, to be unable to give one back would too.
_DELETIONS = frozenset((Verb.DELETE, area) for area in _ALL - {"leases"})
_CONTENT = frozenset((Verb.GET, area) for area in ("packs", "parity"))
_WRITES = frozenset((verb, area) for verb in (Verb.PUT, Verb.APPEND, Verb.DELETE) for area in _ALL)

FORBIDDEN: Mapping[Restriction, frozenset[Act]] = {
    Restriction.APPEND_ONLY: _DELETIONS,
    Restriction.READ_ONLY: _WRITES | {(Verb.CREATE, "")},
    Restriction.WRITE_ONLY: _DELETIONS | _CONTENT,
}

# The log has its own way in, for everybody: records are checked and stamped, other objects are not.
IMPOSSIBLE: frozenset[Act] = frozenset(
    {(Verb.PUT, "log"), *((Verb.APPEND, area) for area in _ALL - {"log"})},
)


def check(verb: Verb, target: str, restrictions: Iterable[Restriction]) -> None:
    """Whether a request may go on; `target` is a name, a LIST's prefix, or empty for CREATE.

    Raises `StoreRefused` with the sentence for the client.
    """
    for area in _touched(verb, target):
        act = (verb, area)
        if act in IMPOSSIBLE:
            raise StoreRefused(f"{verb} of {target!r}: log records are appended, and nothing else is")
        for restriction in sorted(restrictions):
            if act in FORBIDDEN[restriction]:
                what = f"{verb} of {target!r}" if target else f"{verb} a repository"
                raise StoreRefused(f"{what}: the server gives this client {restriction} access")


def _touched(verb: Verb, target: str) -> list[str]:
    if verb is Verb.CREATE:
        return [""]
    if verb is Verb.LIST:
        return [area.name for area in areas_below(target)]
    return [area_of(target).name]


def reads_only(restrictions: Iterable[Restriction]) -> bool:
    """Whether nothing that the restrictions leave could change the repository."""
    forbidden = {act for restriction in restrictions for act in FORBIDDEN[restriction]} | IMPOSSIBLE
    return forbidden >= _WRITES
