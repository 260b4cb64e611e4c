"""The command lines of Vorta 0.11.6's jobs, as it builds them for Borg 1.4, and what it reads of the answers.

`soak/around` runs Vorta itself; here is what that learned, for each change.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from mounting import mounted, needs_fuse
from program import NOBODY, Done, Program, wait_until

READS = {
    "log_message": {"levelname", "message"},
    "file_status": {"path", "status"},
    "archive_progress": {"nfiles", "original_size", "deduplicated_size"},
    "progress_percent": {"message"},
    "progress_message": set[str](),
}
"""Each kind of message on standard error that it knows, with the keys that it takes without asking."""

VARIABLES = {"BORG_HOSTNAME_IS_UNIQUE": "1", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "1", "BORG_RSH": "ssh"}


@pytest.fixture
def vorta(borg: Program, src: Path) -> Program:
    """With an archive, and a second one of what has changed since."""
    borg.env |= VARIABLES
    for name in ("one", "two", "three"):
        (src / name).write_text(name)
    (src / "link").symlink_to("one")
    (src / "folder").mkdir()
    create(borg, "first").ok()
    (src / "one").write_text("another")
    (src / "two").unlink()
    (src / "three").chmod(0o600)
    (src / "link").unlink()
    (src / "link").symlink_to("three")
    (src / "folder").rmdir()
    os.mkfifo(src / "pipe")
    return borg


def create(program: Program, name: str, *more: str) -> Done:
    excluded = program.root / "excluded"
    excluded.write_text("*/.cache\nfm:*.o")
    words = ["--list", "--progress", "--info", "--log-json", "--json", "--filter=AM", "-C", "zstd,3"]
    words += ["--exclude-if-present", ".nobackup", "--exclude-from", str(excluded)]
    return program("create", *words, f"{program.repo}::{name}", str(program.cwd / "src"), *more)


def messages(done: Done) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [json.loads(line) for line in done.err.splitlines()]
    for message in found:
        wanted = READS[message["type"]]
        # the last one of an archive, and of a percentage, has no figures: they are not read then
        assert wanted <= message.keys() or message.get("finished"), message
    return found


def test_create_and_info_fill_its_database(vorta: Program) -> None:
    created = create(vorta, "second").ok()
    said = messages(created)
    assert [one["path"].rsplit("/", 1)[1] for one in said if one["type"] == "file_status"] == ["one", "three"]
    assert any(one["type"] == "archive_progress" for one in said)
    archive = created.json["archive"]
    assert {"id", "name", "start", "duration"} <= archive.keys()
    totals = {"total_size", "unique_size", "total_unique_chunks"}
    assert archive["stats"]["deduplicated_size"] > 0 and totals <= created.json["cache"]["stats"].keys()
    adding = {"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    known = vorta("info", "--info", "--json", "--log-json", vorta.repo, env=adding).ok()
    assert messages(known) == [] and totals <= known.json["cache"]["stats"].keys()
    assert known.json["encryption"]["mode"] == "repokey"
    (listed,) = vorta("info", "--log-json", "--json", f"{vorta.repo}::second").ok().json["archives"]
    assert (listed["id"], listed["name"]) == (archive["id"], "second")
    everything = vorta("list", "--info", "--log-json", "--json", vorta.repo).ok()
    assert [one["id"] for one in everything.json["archives"]][1] == archive["id"]
    assert all({"name", "time"} <= one.keys() for one in everything.json["archives"])


def test_its_dialogs_of_changes_and_of_contents(vorta: Program) -> None:
    create(vorta, "second").ok()
    words = ["diff", "--info", "--log-json", "--json-lines", f"{vorta.repo}::first", "second"]
    lines = [json.loads(line) for line in vorta(*words).ok().out.splitlines()]
    kinds = {one["path"].rsplit("/", 1)[1]: {change["type"] for change in one["changes"]} for one in lines}
    times = {"ctime", "mtime"}
    assert {name: found - times for name, found in kinds.items()} == {
        "one": {"modified"},
        "two": {"removed"},
        "three": {"mode"},
        "link": {"changed link"},
        "folder": {"removed directory"},
        "pipe": {"added fifo"},
        "src": set(),
    }
    columns = "{mode}{user}{group}{size}{isomtime}{path}{source}{health}{NL}"
    words = ["list", "--info", "--log-json", "--json-lines", "--format", columns, f"{vorta.repo}::first"]
    lines = [json.loads(line) for line in vorta(*words).ok().out.splitlines()]
    read = {"path", "size", "mode", "user", "group", "healthy", "isomtime"}
    assert len(lines) == 6 and all(read <= line.keys() and line["healthy"] for line in lines)
    # ticked in the dialog: it restores by a file of patterns, in the folder where it is to go
    ticked = vorta.root / "ticked"
    ticked.write_text(f"P pf\n+ {lines[0]['path']}/two\n- fm:*\n")
    out = vorta.root / "out"
    out.mkdir()
    words = [
        "extract",
        "--list",
        "--info",
        "--log-json",
        f"{vorta.repo}::first",
        "--patterns-from",
        str(ticked),
    ]
    messages(vorta(*words, cwd=out).ok())
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["two"]


def test_it_keeps_house(vorta: Program) -> None:
    for name in ("second", "third", "fourth"):
        create(vorta, name).ok()
    repo = str(vorta.repo)
    logged = ["--info", "--log-json"]
    keep = ["--keep-hourly", "0", "--keep-daily", "1", "--keep-weekly", "0", "--keep-monthly", "0"]
    keep += ["--keep-yearly", "0", "-a", "[ft]*"]
    for words in (
        ["rename", *logged, f"{repo}::second", "renamed"],
        ["delete", *logged, f"{repo}::renamed", "third"],
        ["prune", "--list", *logged, *keep, repo],
        [*logged, "compact", "--progress", repo],
        ["check", *logged, "--progress", repo],
        ["break-lock", *logged, repo],
    ):
        said = messages(vorta(*words).ok())
        assert all(one.get("levelname", "INFO") == "INFO" for one in said), said
        assert not any("`strongroom" in one.get("message", "") for one in said), said
    assert vorta.names() == ["fourth"]
    changing = [*logged, "key", "change-passphrase", repo]
    messages(vorta(*changing, env={"BORG_NEW_PASSPHRASE": "another secret"}).ok())
    assert vorta("list", "--short", env={"BORG_PASSPHRASE": "another secret"}).ok().out == "fourth\n"


def msgids(done: Done) -> list[str]:
    return [one["msgid"] for one in messages(done) if "msgid" in one]


def test_what_it_asks_its_user_about(vorta: Program) -> None:
    """A lock, which it offers to break, by that id; anything else it shows as it is worded."""
    os.mkfifo(vorta.cwd / "go")
    locked = vorta.start("with-lock", vorta.repo, "sh", "-c", "echo begun; read line < go")
    wait_until(lambda: os.pread(locked.out.fileno(), 10, 0) == b"begun\n")
    refused = create(vorta, "second", "--lock-wait", "0")
    assert refused.code == 2 and msgids(refused) == ["LockTimeout"]
    vorta("break-lock", "--info", "--log-json", vorta.repo).ok()
    create(vorta, "second").ok()
    (vorta.cwd / "go").write_text("\n")
    locked.wait().ok()
    warned = create(vorta, "third", str(vorta.root / "nowhere"))
    assert warned.code == 1 and msgids(warned) == ["BackupFileNotFoundError"]
    assert warned.json["archive"]["name"] == "third"
    wrong = vorta("info", "--json", "--log-json", vorta.repo, env={"BORG_PASSPHRASE": "9999999"})
    assert wrong.code == 2 and msgids(wrong) == ["PassphraseWrong"]


def test_a_repository_of_another_user_is_told_by_the_id_that_it_knows(vorta: Program) -> None:
    if os.geteuid():
        pytest.skip("becoming another user needs root")
    for path in (vorta.root, vorta.repo, *vorta.repo.rglob("*")):
        path.chmod(0o755 if stat.S_ISDIR(path.stat().st_mode) else 0o644)
    home = vorta.root / "theirs"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    vorta.env["BORG_BASE_DIR"] = str(home)
    vorta.uid = NOBODY
    refused = create(vorta, "second")
    assert refused.code == 2 and msgids(refused)[-1] == "LockFailed"
    assert vorta("create", f"{vorta.repo}::second", "src", env={"BORG_EXIT_CODES": "modern"}).code == 72
    founded = vorta("init", "--info", "--log-json", "--encryption=none", str(vorta.root / "new"))
    assert msgids(founded) == ["Repository.PathPermissionDenied"]


@needs_fuse
def test_it_finds_the_mount_that_it_unmounts(vorta: Program) -> None:
    with mounted(vorta, f"{vorta.repo}::first", "-o", f"umask=0277,uid={os.getuid()}") as top:
        mounts = [line.split()[:2] for line in Path("/proc/mounts").read_text().splitlines()]
        assert ["borgfs", str(top)] in mounts
        assert any(top.rglob("two"))
