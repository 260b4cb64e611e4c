"""A record of the log that is damaged or gone: what is left is read, and it comes back where it is known.

And nobody can use that to bring in another record, or to hide one from those who have seen it.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from attacks.test_replicas import copied, filled, objects, records
from founded import Founded, archive_body, archive_name, founded_at
from program import Program, patterned
from rawclient import RawClient, failed
from sshd import direct_rsh
from strongroom.repository import log
from strongroom.store import wire
from strongroom.store.local import LocalStore
from strongroom.store.stamp import MAX_STAMP, as_it_was, stamp, unstamp

__all__ = ["copied", "filled"]

NEWEST = 4  # init, and three archives


def record(repo: Path, seq: int) -> Path:
    return repo / log.name(seq)


def spoil(path: Path, at: float = 0.5) -> None:
    blob = bytearray(path.read_bytes())
    blob[int(len(blob) * at)] ^= 4
    path.chmod(0o600)
    path.write_bytes(blob)


def whole_log(repo: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (repo / "log").iterdir()}


def served(program: Program, *words: str) -> tuple[Program, str]:
    """The same machine, with its memory, which reaches the repository as a server's client."""
    rsh = direct_rsh(program.root, *words, name="-".join(["rsh", *words]))
    env = {"STRONGROOM_RSH": rsh, "STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
    return program.another("base", **env), f"ssh://server{program.repo}"


# --- reading what is left ---


@pytest.mark.parametrize("seq", [1, 3, NEWEST])
@pytest.mark.parametrize("how", ["rotten", "gone"])
def test_who_has_no_memory_reads_what_is_left_and_writes_nothing(
    filled: Program, seq: int, how: str, src: Path
) -> None:
    sr = filled
    if how == "gone" and seq == NEWEST:
        pytest.skip("nobody can tell that it was there")
    spoil(record(sr.repo, seq)) if how == "rotten" else record(sr.repo, seq).unlink()
    stranger = sr.another("stranger")
    listed = stranger("list", "--short")
    left = [str(number) for number in range(3) if number + 2 != seq]
    assert (listed.code, listed.out.split()) == (1, left)
    assert log.name(seq) in listed.err and "strongroom repair" in listed.err
    place = sr.root / "restored"
    place.mkdir()
    assert stranger("extract", f"::{left[-1]}", cwd=place).code == 1
    for number in range(int(left[-1]) + 1):  # what a lost record brought is there for those behind it
        assert (place / f"src/file{number}").read_bytes() == patterned(300_000, number)
    before = objects(sr.repo), whole_log(sr.repo)
    for words in (
        ["create", "::new", "src"],
        ["delete", f"::{left[0]}"],
        ["compact"],
        ["rename", "::1", "x"],
    ):
        refused = stranger(*words)
        assert refused.code == 2 and "strongroom repair" in refused.sentence()
    assert "while records of the log are lost" in stranger("check", "--repair").err
    assert (objects(sr.repo), whole_log(sr.repo)) == before
    assert stranger("audit").code == 2


def test_who_has_read_it_before_loses_nothing_and_brings_it_back(filled: Program) -> None:
    sr = filled
    whole = whole_log(sr.repo)
    spoil(record(sr.repo, NEWEST))
    listed = sr("list", "--short")
    assert (listed.code, listed.out.split()) == (1, ["0", "1", "2"])
    assert sr("create", "::new", "src").code == 2
    spoil(record(sr.repo, 1))
    assert "2 healed, 0 are lost" in sr("repair", "-v").ok().err
    assert whole_log(sr.repo) == whole
    sr("check").ok()


def test_what_was_read_of_a_log_with_gaps_is_not_remembered(filled: Program, src: Path) -> None:
    """A lost `compact` freed packs: who kept them in its cache would deduplicate against nothing."""
    sr = filled
    sr("delete", "::2").ok()
    (src / "file2").unlink()
    sr("compact", "--quarantine", "0", "--threshold", "0").ok()
    sr("rename", "::1", "one").ok()
    sr("delete", "::0").ok()
    sr("compact", "--quarantine", "0", "--threshold", "0").ok()
    whole = whole_log(sr.repo)
    reader = sr.another("reader")
    seq = NEWEST + 2
    spoil(record(sr.repo, seq))
    assert reader("list").code == 1
    assert reader("extract", "::one", "--dry-run").code == 1
    assert sr("repair", "-v").ok()
    assert whole_log(sr.repo) == whole
    reader("create", "::again", "src").ok()
    sr("check", "--verify-data").ok()


def test_a_log_that_was_cut_or_forked_is_refused_though_it_is_damaged_too(filled: Program) -> None:
    sr = filled
    shutil.copytree(sr.repo, sr.root / "before")
    attacker = sr.another("attacker")
    attacker("list").ok()
    sr("create", "::secret", "src").ok()
    shutil.rmtree(sr.repo)
    shutil.copytree(sr.root / "before", sr.repo)
    spoil(record(sr.repo, 2))
    cut = sr.another("reader")
    shutil.copytree(sr.root / "base" / ".config", sr.root / "reader" / ".config")  # it saw the newest head
    assert "does not continue" in cut("list").sentence()
    spoil(record(sr.repo, NEWEST))
    assert "does not continue" in cut("list").sentence()
    shutil.rmtree(sr.repo)
    shutil.copytree(sr.root / "before", sr.repo)
    attacker("create", "::other", "src").ok()
    spoil(record(sr.repo, NEWEST))
    assert "does not continue" in cut("list").sentence()


def test_a_record_that_breaks_a_rule_is_no_damage(filled: Program) -> None:
    sr = filled
    second = record(sr.repo, 2)
    blob, when = unstamp(second.read_bytes())
    forged = bytearray(blob)
    forged[-1] ^= 1  # the signature
    second.chmod(0o600)
    second.write_bytes(stamp(bytes(forged), when))
    assert sr.another("stranger")("list").code == 2


# --- bringing it back ---


def test_a_copy_that_is_damaged_elsewhere_heals_it(copied: tuple[Program, Path]) -> None:
    sr, copy = copied
    for seq in (1, 3):
        spoil(record(sr.repo, seq))
    for seq in (2, NEWEST):
        spoil(record(copy, seq))
    stranger = sr.another("stranger", STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK="yes")
    assert "2 healed, 0 are lost" in stranger("repair", "-v", "--from", copy, sr.repo).ok().err
    assert "2 healed, 0 are lost" in stranger("repair", "-v", "--from", sr.repo, copy).ok().err
    for place in (sr.repo, copy):
        sr.another(f"reader of {place.name}", STRONGROOM_REPO=str(place))("check").ok()


def test_check_repair_asks_and_then_brings_it_back_from_the_copy(copied: tuple[Program, Path]) -> None:
    sr, copy = copied
    for seq in (1, 2, NEWEST):
        spoil(record(sr.repo, seq), at=0.9)
    before = whole_log(sr.repo)
    stranger = sr.another("stranger")
    words = ("check", "--repair", "--fallback", copy)
    assert "Nothing was repaired" in stranger(*words).err
    assert whole_log(sr.repo) == before
    stranger(*words, env={"STRONGROOM_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES"}).ok()
    stranger("check").ok()


def test_a_client_of_an_append_only_server_brings_back_what_it_has_read(filled: Program) -> None:
    sr = filled
    whole = whole_log(sr.repo)
    client, url = served(sr, "--append-only")
    for seq in (1, 2, NEWEST):
        spoil(record(sr.repo, seq))
    record(sr.repo, 3).unlink()
    refused = client("create", f"{url}::new", "src")
    assert refused.code == 2 and "strongroom repair" in refused.err
    assert "4 healed" in client("repair", "-v", url).ok().err
    healed = whole_log(sr.repo)
    for name in (1, 2, NEWEST):  # with their stamps
        assert healed[f"{name:020d}"] == whole[f"{name:020d}"]
    third = unstamp(healed[f"{3:020d}"])
    assert third == (unstamp(whole[f"{3:020d}"])[0], unstamp(whole[f"{NEWEST:020d}"])[1])  # never too early
    client("create", f"{url}::new", "src").ok()


def test_of_a_newest_record_that_is_wiped_out_only_who_may_delete_is_believed(filled: Program) -> None:
    sr = filled
    record(sr.repo, NEWEST).write_bytes(b"")
    record(sr.repo, 3).unlink()
    client, url = served(sr, "--append-only")
    told = client("repair", "-v", url)
    assert told.code == 1 and "0 healed, 2 are lost" in told.err
    trusted, url = served(sr)
    assert "2 healed" in trusted("repair", "-v", url).ok().err
    trusted("check", url).ok()


# --- and nothing else ---


@pytest.fixture
def founded(tmp_path: Path) -> Founded:
    founded = founded_at(tmp_path / "repo")
    store = LocalStore(str(tmp_path / "repo"))
    for blob in (b"one", b"two"):
        store.put(archive_name(blob), [blob])
        founded.append(store, "archive", archive_body(blob))
    return founded


@pytest.fixture
def client(founded: Founded, tmp_path: Path) -> Iterator[RawClient]:
    with RawClient(["--append-only"]) as client:
        client.greet()
        assert client.open(tmp_path / "repo") == wire.Done()
        yield client


def mended(client: RawClient, seq: int, blob: bytes) -> wire.Reply:
    return client.ask(wire.Mend(log.name(seq), len(blob)), blob)


def test_an_append_only_client_cannot_pass_another_record_for_a_damaged_one(
    client: RawClient, founded: Founded, tmp_path: Path
) -> None:
    """With a key of the repository, that is: records that any reader would take."""
    repo = tmp_path / "repo"
    whole = whole_log(repo)
    parted = founded_at(tmp_path / "elsewhere")
    store = LocalStore(str(repo))
    own = {seq: unstamp(store.get(log.name(seq)))[0] for seq in (1, 2, 3)}
    store.put(archive_name(b"other"), [b"other"])
    for seq in (2, 3):  # they follow what stands before them, and are signed as they must be
        parted.state = log.LogState(founded.state.repository, founded.state_admin)
        for earlier in range(1, seq):
            parted.state.apply(own[earlier])
        false = log.sign(parted.state, "archive", archive_body(b"other"), founded.admin, 5)
        assert failed(mended(client, seq, false), "LogBroken" if seq == 2 else "StoreRefused")
        assert failed(mended(client, seq, own[seq]), "ObjectExists")
        spoil(record(repo, seq))
        assert failed(mended(client, seq, false), "LogBroken" if seq == 2 else "StoreRefused")
        assert mended(client, seq, own[seq]) == wire.Stamped(0)
    for seq, blob in ((4, false), (5, false), (0, b"x"), (3, b""), (3, b"rubbish")):
        assert isinstance(mended(client, seq, blob), wire.Failed)
    assert whole_log(repo) == whole


def test_what_is_left_of_an_envelope_tells_one_record_only() -> None:
    now = 1_800_000_000_000_000_000
    stored = stamp(b"a record", now)
    assert as_it_was(b"a record", stored) == stored
    assert as_it_was(b"a record", b"?" * 8 + stored[-19:]) == stored
    assert as_it_was(b"another", stored) is None
    for at in range(len(stored) - 19, len(stored)):
        rotten = bytearray(stored)
        rotten[at] ^= 1
        assert as_it_was(b"a record", bytes(rotten)) != stored or at in (len(stored) - 10, len(stored) - 9)
    for rubbish in (b"", b"\xcf", b"\xcf" * 40, stamp(b"a record", MAX_STAMP)[:-1], stamp(b"a record", 3)):
        assert as_it_was(b"a record", rubbish) is None


def test_a_damaged_record_takes_no_more_room_when_it_is_healed(filled: Program) -> None:
    sr = filled
    spoil(record(sr.repo, 2))
    sr("repair").ok()
    assert records(sr.repo) == NEWEST
    assert not any(path.is_file() and path.name != "publish-lock" for path in (sr.repo / "tmp").iterdir())
