"""The table of every request against every restriction, written out a second time."""

from itertools import combinations

import pytest

from strongroom.errors import StoreRefused
from strongroom.server.objects import AREAS, area_of
from strongroom.server.policy import Restriction, Verb, check, reads_only

H = "ab" + "0" * 62
NAMES = {
    "config": "config",
    "keys": f"keys/{H}",
    "packs": f"packs/ab/{H}",
    "index": f"index/{H}",
    "refs": f"refs/ab/{H}",
    "archives": f"archives/{H}",
    "log": "log/00000000000000000001",
    "leases": f"leases/{H[:32]}",
    "parity": f"parity/{H}",
}

# For each request: none, append-only, read-only, write-only.  + allowed, - refused
TABLE = """
create              +  +  -  +
list all            +  +  +  +
get config          +  +  +  +
get keys            +  +  +  +
get packs           +  +  +  -
get index           +  +  +  +
get refs            +  +  +  +
get archives        +  +  +  +
get log             +  +  +  +
get leases          +  +  +  +
get parity          +  +  +  -
list config         -  -  -  -
list keys           +  +  +  +
list packs          +  +  +  +
list index          +  +  +  +
list refs           +  +  +  +
list archives       +  +  +  +
list log            +  +  +  +
list leases         +  +  +  +
list parity         +  +  +  +
put config          +  +  -  +
put keys            +  +  -  +
put packs           +  +  -  +
put index           +  +  -  +
put refs            +  +  -  +
put archives        +  +  -  +
put log             -  -  -  -
put leases          +  +  -  +
put parity          +  +  -  +
append config       -  -  -  -
append keys         -  -  -  -
append packs        -  -  -  -
append index        -  -  -  -
append refs         -  -  -  -
append archives     -  -  -  -
append log          +  +  -  +
append leases       -  -  -  -
append parity       -  -  -  -
delete config       +  -  -  -
delete keys         +  -  -  -
delete packs        +  -  -  -
delete index        +  -  -  -
delete refs         +  -  -  -
delete archives     +  -  -  -
delete log          +  -  -  -
delete leases       +  +  -  +
delete parity       +  -  -  -
"""
COLUMNS: list[frozenset[Restriction]] = [frozenset(), *(frozenset({word}) for word in Restriction)]


def rows() -> list[tuple[Verb, str, list[bool]]]:
    found = []
    for line in TABLE.strip().splitlines():
        *request, none, append, read, write = line.split()
        verb = Verb(request[0])
        area = request[1] if len(request) > 1 else ""
        target = NAMES.get(area, "")
        if verb is Verb.LIST:
            target = "" if area == "all" else f"{area}/"
        found.append((verb, target, [mark == "+" for mark in (none, append, read, write)]))
    return found


def allowed(verb: Verb, target: str, restrictions: frozenset[Restriction]) -> bool:
    try:
        check(verb, target, restrictions)
    except StoreRefused:
        return False
    return True


def test_the_columns_are_in_the_order_of_the_table() -> None:
    assert [word.value for word in Restriction] == ["append-only", "read-only", "write-only"]


def test_the_table_has_every_request_and_every_area() -> None:
    asked = {(verb, target) for verb, target, _ in rows()}
    per_object = (Verb.GET, Verb.PUT, Verb.APPEND, Verb.DELETE)
    assert asked >= {(verb, name) for verb in per_object for name in NAMES.values()}
    assert set(NAMES) == set(AREAS)
    assert {verb for verb, _, _ in rows()} == set(Verb)


@pytest.mark.parametrize(("verb", "target", "expected"), rows())
def test_each_restriction_forbids_what_the_table_says(verb: Verb, target: str, expected: list[bool]) -> None:
    assert [allowed(verb, target, column) for column in COLUMNS] == expected


@pytest.mark.parametrize(("verb", "target", "expected"), rows())
def test_several_restrictions_forbid_what_each_forbids(verb: Verb, target: str, expected: list[bool]) -> None:
    for size in (2, 3):
        for chosen in combinations(list(enumerate(Restriction, start=1)), size):
            together = frozenset(word for _, word in chosen)
            assert allowed(verb, target, together) == all(expected[number] for number, _ in chosen)


def test_only_read_only_leaves_nothing_to_write() -> None:
    assert [reads_only(column) for column in COLUMNS] == [False, False, True, False]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "config/",
        "config/x",
        "packs",
        "packs/",
        f"packs/{H}",
        f"packs/ac/{H}",
        f"packs/ab/{H}/x",
        "tmp/x",
        f"packs/ab/{H.upper()}",
        f"keys/{H[:-1]}",
        f"keys/{H}0",
        "log/1",
        "log/-0000000000000000001",
        "keys/../config",
        f"index/{H}\n",
        f"leases/{H}",
        "log/" + "٠" * 20,
        f"../packs/ab/{H}",
        f"/packs/ab/{H}",
        ".quota/lock",
    ],
)
def test_names_outside_of_a_repository_are_refused(name: str) -> None:
    with pytest.raises(StoreRefused):
        area_of(name)
    for verb in (Verb.GET, Verb.PUT, Verb.APPEND, Verb.DELETE):
        with pytest.raises(StoreRefused):
            check(verb, name, [])


@pytest.mark.parametrize(
    "prefix", ["/", "tmp/", "packs", "../", "packs/../", "packs/zz/", ".quota/", "packs/ab/cd/"]
)
def test_folders_outside_of_a_repository_are_not_listed(prefix: str) -> None:
    with pytest.raises(StoreRefused):
        check(Verb.LIST, prefix, [])
