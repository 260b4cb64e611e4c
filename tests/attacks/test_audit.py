"""What attackers of every kind do to a repository, and that `audit` sees and names it, without any key."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from founded import archive_body, archive_name, founded_at
from program import Done, Program, end_all, fast_folder, make_program, remove_tree
from sshd import direct_rsh, needs_sshd, running, serve_command
from strongroom.crypto import hashing, keyformat, keys
from strongroom.repository import founding, log
from strongroom.repository.log import ArchiveBody, ArchivesBody, Body, KeyAddBody, Kind, LogState
from strongroom.repository.records import FreeingBody
from strongroom.store.local import LocalStore
from strongroom.store.stamp import stamp, unstamp


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """Archives `one` (admin), `two`, `three` (key `laptop`), all audited; `old` has the first alone."""
    root = Path(tempfile.mkdtemp(prefix="strongroom-", dir=fast_folder()))
    program = make_program(root)
    src = program.cwd / "src"
    src.mkdir()
    program("init", "--encryption=keyfile").ok()
    (src / "file").write_bytes(os.urandom(40_000))
    program("create", "::one", "src").ok()
    program("key", "add", "--role=backup", "--no-passphrase", "--output=laptop.key", "::", "laptop").ok()
    shutil.copytree(program.repo, root / "old")
    laptop = program.another("laptop", STRONGROOM_PASSPHRASE="unknown")
    laptop("key", "import", "::", "laptop.key").ok()
    for name in ("two", "three"):
        (src / name).write_bytes(os.urandom(40_000))
        laptop("create", f"::{name}", "src").ok()
    audit(watcher(program)).ok()
    yield root
    end_all(program)
    remove_tree(root)


@pytest.fixture
def seen(program: Program, made: Path) -> Program:
    """A copy of it, with all machines' folders."""
    shutil.copytree(made, program.root, dirs_exist_ok=True)
    program.env["STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK"] = "yes"
    return program


@pytest.fixture
def src(seen: Program) -> Path:
    return seen.cwd / "src"


def watcher(program: Program) -> Program:
    """A third machine: no key file, no passphrase, and nobody to ask for one."""
    return program.another("watcher", STRONGROOM_PASSPHRASE="")


def audit(program: Program, *words: str) -> Done:
    return program("audit", *words, env={"STRONGROOM_PASSPHRASE": None})


def findings(program: Program, *words: str, code: int = 2) -> dict[str, Any]:
    """By code; each code once."""
    done = audit(program, "--json", *words)
    assert done.code == done.json["exit_code"] == code, done
    assert "Traceback" not in done.err
    found = {one["code"]: one for one in done.json["findings"]}
    assert len(found) == len(done.json["findings"]), done.out
    return found


def put_in_place(program: Program, other: Path) -> None:
    shutil.rmtree(program.repo)
    shutil.copytree(other, program.repo)


def state_of(repo: Path) -> LogState:
    store = LocalStore(str(repo))
    identity, founded = founding.decode(store.get("config"), "here")
    state = LogState(identity, founded.admin_public)
    for one in store.list("log/"):
        state.apply(unstamp(store.get(one.name))[0])
    return state


def append(repo: Path, state: LogState, kind: Kind, body: Body, secrets: keys.KeySecrets) -> Path:
    """Written by whoever holds the disk: no server looks at it."""
    path = repo / log.name(state.head.seq + 1)
    path.write_bytes(stamp(log.sign(state, kind, body, secrets, time.time_ns()), time.time_ns()))
    return path


def laptop_secrets(program: Program) -> keys.KeySecrets:
    (file,) = (program.root / "laptop/.config/strongroom/keys").iterdir()
    return keys.unwrap(keyformat.parse(file.read_bytes(), "key"), None, "key")


def packs_of(repo: Path) -> list[Path]:
    return sorted(repo.glob("packs/*/*"), key=lambda path: path.stat().st_mtime_ns)


# --- sound ---


def test_a_sound_repository_is_sound_on_every_machine(seen: Program) -> None:
    for program in (seen, watcher(seen), seen.another("new")):
        done = audit(program, "--hash", "--json")
        assert done.code == 0 and done.json["findings"] == [] and done.json["head"]["seq"] == 5, done
        assert done.json["counts"]["packs"] == 3 and done.json["counts"]["packs_hashed"] > 120_000
        text = audit(program)
        assert "Verdict: sound" in text.out and not text.err, text
        assert f"Head: 5:{done.json['head']['hash']}" in text.out


def test_an_audit_changes_nothing_in_the_repository(seen: Program) -> None:
    before = {path: path.read_bytes() for path in seen.repo.rglob("*") if path.is_file()}
    audit(seen, "--hash").ok()
    assert {path: path.read_bytes() for path in seen.repo.rglob("*") if path.is_file()} == before


def test_an_audit_does_not_make_other_commands_trust_a_stranger(program: Program) -> None:
    program("init", "--encryption=none").ok()
    third = watcher(program)
    audit(third).ok()
    assert "unencrypted" in third("list").err


def test_a_third_machine_needs_no_more_than_to_read_one_repository_over_ssh(seen: Program) -> None:
    forced = direct_rsh(seen.root, "--read-only", "--restrict-to-repository", str(seen.repo))
    url = f"ssh://backup@host{seen.repo}"
    third = seen.another("third", STRONGROOM_REPO=url, STRONGROOM_RSH=forced)
    assert audit(third, "--hash").code == 0
    put_in_place(seen, seen.root / "old")
    assert findings(third)["log-rolled-back"]["object"] == log.name(4)


def test_a_damaged_memory_is_told_and_the_rest_is_judged_without_it(seen: Program) -> None:
    third = watcher(seen)
    (head,) = (seen.root / "watcher").glob(".config/strongroom/security/*/head")
    head.write_text("rubbish")
    found = findings(third, code=1)
    assert str(head) in found["memory-damaged"]["what"]
    packs_of(seen.repo)[2].unlink()
    assert "pack-missing" in findings(third)


def test_a_wrong_passphrase_keeps_nothing_else_from_being_judged(seen: Program) -> None:
    done = seen("audit", "--with-key", "--json", env={"STRONGROOM_PASSPHRASE": "wrong"})
    assert done.code == 1 and [one["code"] for one in done.json["findings"]] == ["key-unusable"], done
    packs_of(seen.repo)[2].unlink()
    done = seen("audit", "--with-key", "--json", env={"STRONGROOM_PASSPHRASE": "wrong"})
    assert done.code == 2 and "pack-missing" in [one["code"] for one in done.json["findings"]]


# --- rollback, fork, truncation ---


@pytest.mark.parametrize("machine", ["client", "watcher"])
def test_a_rollback_is_seen_and_each_lost_record_named(seen: Program, machine: str) -> None:
    program = seen if machine == "client" else watcher(seen)
    audit(program).ok()
    put_in_place(seen, seen.root / "old")
    found = findings(program)["log-rolled-back"]
    assert found["severity"] == "tampering" and found["object"] == log.name(4)
    assert "Records 4 to 5 are gone" in found["what"] and found["what"].count("'laptop'") == 2, found
    assert "rolled back" in seen("list").err or machine == "watcher"  # where others refuse, audit reports
    # and what it was is not forgotten: the true log is still the one that counts
    assert findings(program)["log-rolled-back"] == found


def test_a_rollback_is_seen_by_the_head_alone_when_the_cache_is_lost(seen: Program) -> None:
    third = watcher(seen)
    put_in_place(seen, seen.root / "old")
    third.lose_cache()
    found = findings(third)["log-rolled-back"]
    assert "4 to 5" in found["what"] and "this machine saw the log up to record 5" in found["what"]


def test_a_fork_is_seen_and_the_record_where_it_parts_is_named(seen: Program, src: Path) -> None:
    branch = seen.another("other", STRONGROOM_REPO=str(seen.root / "old"))
    branch("key", "import", "::", "laptop.key", env={"STRONGROOM_PASSPHRASE": "unknown"}).ok()
    for name in ("other two", "other three", "other four"):
        (src / "file").write_text(name)
        branch("create", f"::{name}", "src").ok()
    put_in_place(seen, seen.root / "old")
    third = watcher(seen)
    found = findings(third)["log-forked"]
    assert found["object"] == log.name(4) and found["key"] == "laptop"
    assert "This machine" not in found["what"] and "up to record 5" in found["what"]
    third.lose_cache()
    assert findings(third)["log-forked"]["object"] == log.name(5)  # the head is all that it knows
    # a machine that saw neither branch believes what it is shown, unless another tells it
    assert audit(seen.another("new")).code == 0


def test_a_second_observers_head_tells_a_new_machine(seen: Program) -> None:
    report = audit(watcher(seen), "--json").out
    head = next(line for line in audit(watcher(seen)).out.splitlines() if line.startswith("Head: "))[6:]
    (seen.cwd / "report.json").write_text(report)
    (seen.cwd / "head.txt").write_text(head + "\n")
    (security,) = (seen.root / "watcher").glob(".config/strongroom/security/*/head")
    ways = [head, "report.json", "head.txt", str(security)]
    for number, way in enumerate(ways):
        new = seen.another(f"new{number}")
        done = audit(new, "--expect", way, "--json")
        assert done.code == 0 and [one["agrees"] for one in done.json["observers"]] == [True], done
    put_in_place(seen, seen.root / "old")
    for number, way in enumerate(ways):
        found = findings(seen.another(f"newer{number}"), "--expect", way)
        assert "up to record 5" in found["log-rolled-back"]["what"]
    forged = f"3:{'0' * 64}"
    assert findings(seen.another("last"), "--expect", forged)["log-forked"]["object"] == log.name(3)


@pytest.mark.parametrize("words", ["", "5", "5:abc", "0:" + "0" * 64, "nowhere.json", "src"])
def test_what_is_no_head_is_refused(seen: Program, words: str) -> None:
    assert audit(seen, "--expect", words).code == 2


def test_a_missing_record_in_the_middle_is_named_and_the_rest_is_still_judged(seen: Program) -> None:
    (seen.repo / log.name(4)).unlink()
    packs_of(seen.repo)[2].unlink()  # named by record 5, behind the hole
    for program in (watcher(seen), seen.another("new")):
        found = findings(program)
        assert found["log-hole"]["object"] == log.name(4) and "record 5 is there" in found["log-hole"]["what"]
        assert "Record 5" in found["pack-missing"]["what"], found
    assert "two" not in found["log-hole"]["what"]


def test_another_repository_in_its_place_is_seen(seen: Program) -> None:
    audit(watcher(seen)).ok()
    shutil.rmtree(seen.repo)
    seen("init", "--encryption=keyfile", env={"STRONGROOM_BASE_DIR": str(seen.root / "evil")}).ok()
    found = findings(watcher(seen))
    assert "Another repository was here before" in found["repository-replaced"]["what"]
    assert findings(watcher(seen)).keys() == found.keys()  # and not taken for the known one from then on


def test_a_damaged_config_and_an_empty_log_are_findings(seen: Program) -> None:
    shutil.rmtree(seen.repo / "log")
    assert findings(seen.another("new")).keys() >= {"log-empty"}
    assert "log-rolled-back" in findings(watcher(seen))
    config = seen.repo / "config"
    config.write_bytes(config.read_bytes().replace(b"quarantine_days", b"quarantine_dayz"))
    assert findings(seen)["config-damaged"]["object"] == "config"


# --- forged records ---


def test_a_record_of_a_stranger_is_named(seen: Program) -> None:
    """The disk's owner makes up a key of their own."""
    state = state_of(seen.repo)
    forged = replace(laptop_secrets(seen), signing_private=keys.new_signing_key())
    every = [bytes(one) for one in state.archives]
    path = append(seen.repo, state, "delete", ArchivesBody(every), forged)
    found = findings(watcher(seen))["record-forged"]
    assert found["object"] == str(path.relative_to(seen.repo)) == log.name(6)
    assert "No key of this repository signed it" in found["what"] and "delete of aid:" in found["what"]
    assert found["since"] is not None


def test_a_signature_moved_to_another_record_is_named_with_what_was_there(seen: Program) -> None:
    path = seen.repo / log.name(4)
    blob, arrived = unstamp(path.read_bytes())
    path.write_bytes(stamp(blob[:-1] + bytes([blob[-1] ^ 1]), arrived))
    found = findings(watcher(seen))
    assert found.keys() == {"record-forged"}
    assert found["record-forged"]["object"] == log.name(4)
    assert "This machine has seen it: archive aid:" in found["record-forged"]["what"]
    assert findings(seen.another("new")).keys() == {"record-forged"}


def test_a_revoked_keys_record_is_named_with_the_key(seen: Program) -> None:
    seen("key", "revoke", "::", "laptop").ok()
    state = state_of(seen.repo)
    body = ArchiveBody(b"a" * 32, b"b" * 32, b"", b"", 0, 0, 0)
    append(seen.repo, state, "archive", body, laptop_secrets(seen))
    found = findings(watcher(seen))["record-forged"]
    assert (
        found["key"] == "laptop"
        and "revoked key 'laptop'" in found["what"]
        and found["object"] == log.name(7)
    )


def test_a_role_that_may_not_is_named(seen: Program) -> None:
    state = state_of(seen.repo)
    public = keys.public_of(keys.new_signing_key())
    append(seen.repo, state, "key-add", KeyAddBody("mine", "admin", public), laptop_secrets(seen))
    found = findings(watcher(seen))["record-forged"]
    assert found["key"] == "laptop" and "(key-add) is signed by a backup key" in found["what"]


def test_a_forged_record_does_not_hide_what_comes_after_it(seen: Program) -> None:
    path = seen.repo / log.name(2)
    blob, arrived = unstamp(path.read_bytes())
    path.write_bytes(stamp(blob[:-1] + bytes([blob[-1] ^ 1]), arrived))
    packs_of(seen.repo)[2].unlink()
    found = findings(seen.another("new"))
    assert found["record-forged"]["object"] == log.name(2)
    assert found["pack-missing"]["key"] == "laptop"


def test_stamps_that_go_back_are_for_a_person_to_judge(seen: Program) -> None:
    path = seen.repo / log.name(5)
    blob, arrived = unstamp(path.read_bytes())
    path.write_bytes(stamp(blob, arrived - 40 * 24 * 3600 * 10**9))
    found = findings(seen.another("new"), code=1)
    assert found["stamp-backwards"]["object"] == log.name(5) and found["clock-apart"]["key"] == "laptop"


# --- objects ---


def test_a_removed_pack_is_named_with_who_wrote_it_and_what_it_costs(seen: Program) -> None:
    pack = packs_of(seen.repo)[1]
    pack.unlink()
    done = audit(watcher(seen), "--json")
    found = {one["object"]: one for one in done.json["findings"]}
    missing = found.pop(str(pack.relative_to(seen.repo)))
    assert missing["code"] == "pack-missing" and missing["key"] == "laptop" and missing["since"]
    state = state_of(seen.repo)
    two, three = (one.id.hex() for one in list(state.archives.values())[1:])
    # `three` shares the file of `two`; `one` has lost nothing
    assert missing["archives"] == [two]
    assert {one["code"] for one in found.values()} == {"archive-damaged"}
    assert found.keys() == {f"archives/{two}", f"archives/{three}"}


def test_a_pack_that_was_cut_is_seen_and_one_that_was_exchanged_with_hash(seen: Program) -> None:
    pack = packs_of(seen.repo)[0]
    good = pack.read_bytes()
    pack.write_bytes(good[:-1])
    assert "pack-resized" in {one["code"] for one in audit(seen, "--json").json["findings"]}
    pack.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    assert audit(seen).code == 0
    done = audit(seen, "--hash", "--json")
    codes = [one["code"] for one in done.json["findings"]]
    assert done.code == 2 and sorted(set(codes)) == ["archive-damaged", "object-changed"], codes


@pytest.mark.parametrize("folder", ["index", "archives", "refs"])
@pytest.mark.parametrize("how", ["removed", "replaced", "exchanged"])
def test_a_removed_or_replaced_object_is_named(seen: Program, folder: str, how: str) -> None:
    first, second = sorted(path for path in (seen.repo / folder).rglob("*") if path.is_file())[:2]
    if how == "removed":
        first.unlink()
    elif how == "replaced":
        first.write_bytes(b"\0" + first.read_bytes()[1:])
    else:
        shutil.copy(second, first)
    done = audit(watcher(seen), "--json")
    assert done.code == 2
    (found,) = (one for one in done.json["findings"] if one["object"] == str(first.relative_to(seen.repo)))
    assert found["severity"] == "loss" and found["key"] in ("admin", "laptop")


def test_a_key_that_was_removed_from_the_repository_is_missed(sr: Program) -> None:
    """The record of its addition does not name the object: a passphrase changes it."""
    exported = sr("key", "export").ok().raw
    sr("key", "change-passphrase", env={"STRONGROOM_NEW_PASSPHRASE": "other"}).ok()
    assert audit(watcher(sr)).code == 0
    for path in (sr.repo / "keys").iterdir():
        path.unlink()
    found = findings(watcher(sr))
    assert found.keys() == {"key-missing"} and "key import" in found["key-missing"]["what"]
    told = sr("check", "--repository-only")
    assert told.code == 1 and "No admin's key" in told.err
    sr("key", "import", "-", stdin=exported).ok()
    assert audit(watcher(sr)).code == 0
    assert sr("check", "--repository-only").code == 0


def test_objects_that_no_record_names_are_counted_and_a_planted_key_is_named(seen: Program) -> None:
    blob = b"rubbish"
    name = hashing.plain_hash(blob).hex()
    (seen.repo / "packs" / name[:2]).mkdir(exist_ok=True)
    (seen.repo / "packs" / name[:2] / name).write_bytes(blob)
    (seen.repo / "keys").mkdir(exist_ok=True)
    (seen.repo / "keys" / name).write_bytes(blob)
    found = findings(watcher(seen), code=1)
    assert found.keys() == {"key-foreign"} and found["key-foreign"]["object"] == f"keys/{name}"
    assert audit(seen, "--json").json["counts"]["unnamed"] == {"packs": {"objects": 1, "size": 7}}


# --- the server's owner ---


def test_what_the_servers_key_did_is_listed_and_what_it_freed_is_not_missed(program: Program) -> None:
    founded = founded_at(program.repo)
    store = LocalStore(str(program.repo))
    blob, pack = b"an archive object", b"a pack"
    store.put(archive_name(blob), [blob])
    body = archive_body(blob, hashing.plain_hash(pack))
    founded.append(store, "archive", body)
    server = founded.new_key(store, "server")
    founded.append(store, "delete", ArchivesBody([body.archive]), server)
    done = audit(program, "--json")
    assert {one["code"] for one in done.json["findings"]} == {"pack-missing", "archive-invalid"}, done.out
    freeing = FreeingBody(archives=body.archive, packs=body.packs, freed_bytes=len(pack))
    founded.append(store, "compact", freeing, server)
    (program.repo / archive_name(blob)).unlink()
    done = audit(program, "--json")
    assert done.code == 0 and done.json["findings"] == [], done.out
    deeds = [(one["kind"], one["role"]) for one in done.json["administration"]]
    assert deeds == [("key-add", "admin"), ("delete", "server"), ("compact", "server")]
    assert "1 archive and 1 pack freed, 6 bytes" in done.json["administration"][2]["what"]
    # and its owner may do no more than that
    state = state_of(program.repo)
    path = append(program.repo, state, "archive", archive_body(b"other"), server)
    found = findings(program)["record-forged"]
    assert found["object"] == str(path.relative_to(program.repo)) and "by a server key" in found["what"]


# --- over ssh, as the page on `audit` says ---


@needs_sshd
def test_a_third_machine_sees_it_all_over_a_real_ssh_connection(seen: Program) -> None:
    """It has no key of the repository, its ssh key may read this one only, and it knows another's head."""
    head = audit(watcher(seen), "--json").json["head"]
    expected = f"{head['seq']}:{head['hash']}"
    shutil.copytree(seen.repo, seen.root / "sound")
    (seen.root / "sshd").mkdir()
    with running(seen.root / "sshd") as server:
        server.allow("third", serve_command("--read-only", "--restrict-to-repository", str(seen.repo)))
        where = {"STRONGROOM_REPO": server.url(str(seen.repo)), "STRONGROOM_RSH": server.rsh("third")}
        third = seen.another("third", STRONGROOM_PASSPHRASE="", **where)
        done = audit(third, "--hash", "--expect", expected, "--json")
        assert done.code == 0 and [one["agrees"] for one in done.json["observers"]] == [True], done
        assert not list((seen.root / "third").glob(".config/strongroom/keys/*"))

        # rolled back: the machine itself knows, and one that comes anew knows from the other's head
        put_in_place(seen, seen.root / "old")
        new = seen.another("new", STRONGROOM_PASSPHRASE="", **where)
        for machine in (third, new):
            found = findings(machine, "--expect", expected)
            assert "up to record 5" in found["log-rolled-back"]["what"] or machine is third
        put_in_place(seen, seen.root / "sound")
        assert audit(third, "--expect", expected).code == 0

        # removed, exchanged
        first, second, *_ = packs_of(seen.repo)
        first.unlink()
        whole = second.read_bytes()
        second.chmod(0o600)
        second.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        done = audit(third, "--hash", "--expect", expected, "--json")
        found = {one["object"]: one["code"] for one in done.json["findings"]}
        assert done.code == 2 and found[str(first.relative_to(seen.repo))] == "pack-missing", found
        assert found[str(second.relative_to(seen.repo))] == "object-changed", found
        put_in_place(seen, seen.root / "sound")

        # forged: signed by a key that was never added
        state = state_of(seen.repo)
        stranger = replace(laptop_secrets(seen), signing_private=keys.new_signing_key())
        gone = ArchivesBody([next(iter(state.archives))])
        append(seen.repo, state, "delete", gone, stranger)
        assert findings(third, "--expect", expected)["record-forged"]["object"] == log.name(6)
        put_in_place(seen, seen.root / "sound")
        assert audit(third, "--hash", "--expect", expected).code == 0

        # and it may do no more than look
        before = sorted(seen.repo.rglob("*"))
        assert third("create", "::x", "src").code == 2
        assert sorted(seen.repo.rglob("*")) == before
