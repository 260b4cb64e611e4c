"""info, check, rename, delete and key from the command line."""

import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def filled(repository: Run) -> Run:
    """A repository with the archives one and two."""
    Path("src").mkdir()
    Path("src/a").write_text("content of a\n" * 100)
    for name in ("one", "two"):
        done = repository("create", f"::{name}", "src")
        assert done.code == 0, done.err
    return repository


def archives(run: Run) -> list[str]:
    return run("list", "--short").out.split()


# --- statistics ---


def test_stats_of_create(repository: Run) -> None:
    Path("a").write_bytes(bytes(range(256)) * 16)
    done = repository("create", "--stats", "::one", "a")
    assert re.search(r"^This archive: +4\.10 kB +\S+ k?B +\S+ k?B$", done.err, re.MULTILINE)
    assert "All archives:" in done.err and "Number of files: 1" in done.err
    assert "All archives:" not in repository("create", "--quick-stats", "::two", "a").err
    record = repository("create", "--json", "::three", "a").json
    assert record["archive"]["name"] == "three"
    assert record["archive"]["stats"]["original_size"] == 4096
    assert record["archive"]["stats"]["compressed_size"] > 0
    assert record["encryption"] == {"mode": "repokey"}
    assert set(record) == {"archive", "cache", "encryption", "repository"}


def test_info_of_the_repository(filled: Run, tmp_path: Path) -> None:
    shown = filled("info").out
    assert f"Location: {tmp_path / 'repo'}" in shown
    assert "Encrypted: Yes (repokey)" in shown and "All archives:" in shown
    record = filled("info", "--json").json
    assert "Quarantine: 30 days" in shown and record["quarantine_days"] == 30
    assert set(record) == {"cache", "encryption", "quarantine_days", "repository", "reserve", "security_dir"}
    assert record["repository"]["location"] == str(tmp_path / "repo")


@pytest.mark.parametrize(("words", "days", "left"), [("0", 0, 0), ("1d", 1, 1), ("2w", 14, 1)])
def test_who_founds_a_repository_chooses_its_quarantine(run: Run, words: str, days: int, left: int) -> None:
    assert run("init", "-e", "none", "--quarantine", words).code == 0
    assert run("info", "--json").json["quarantine_days"] == days
    Path("a").write_text("a")
    run("create", "::one", "a")
    run("delete", "::one")
    assert run("compact", "--list").code == 0
    assert len(run("list", "--deleted", "--short").out.split()) == left


@pytest.mark.parametrize("words", ["12H", "90M", "x", "-1d", "200y", ""])
def test_a_quarantine_is_of_whole_days(run: Run, words: str) -> None:
    assert run("init", "-e", "none", f"--quarantine={words}").code == 2
    assert not Path(os.environ["STRONGROOM_REPO"]).exists()


def test_info_of_archives(filled: Run) -> None:
    shown = filled("info", "::one").out
    assert shown.startswith("Archive name: one\n") and shown.count("This archive:") == 1
    assert filled("info", "--last", "2").out.count("This archive:") == 2
    record = filled("info", "--json", "--glob-archives", "t*").json
    assert [archive["name"] for archive in record["archives"]] == ["two"]
    assert record["archives"][0]["stats"]["nfiles"] == 1
    assert filled("info", "::three").code == 2
    ignored = filled("info", "--last", "1", "::one")
    assert ignored.code == 0 and ignored.out == shown and "ignored" in ignored.err


def test_list_json(filled: Run) -> None:
    record = filled("list", "--json").json
    assert [archive["name"] for archive in record["archives"]] == ["one", "two"]


# --- check ---


def test_check_of_a_sound_repository(filled: Run) -> None:
    for words in (
        [],
        ["--verify-data"],
        ["--repository-only"],
        ["--archives-only"],
        ["::one"],
        ["--last", "1"],
    ):
        done = filled("check", "-v", *words)
        assert done.code == 0, done.err
        assert "No problems found." in done.err


def test_check_tells_damage_by_line_and_exit_code(filled: Run, tmp_path: Path) -> None:
    pack = next(path for path in (tmp_path / "repo" / "packs").rglob("*") if path.is_file())
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    done = filled("check", "--verify-data")
    assert done.code == 1
    assert pack.name in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["--repair", "--repository-only", "--max-duration", "1"],
        ["--repository-only", "--archives-only"],
        ["--repository-only", "--last", "1"],
        ["--max-duration", "1"],
        ["--last", "1", "::one"],
    ],
)
def test_checks_that_contradict_themselves_are_refused(repository: Run, words: list[str]) -> None:
    done = repository("check", *words)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1


# --- rename, delete ---


def test_rename(filled: Run) -> None:
    assert filled("rename", "::one", "{user}-1", "-v").code == 0
    assert archives(filled)[0].endswith("-1") and "one" not in archives(filled)
    assert filled("rename", "::two", "a/b").code == 2
    assert filled("rename", "::nowhere", "x").code == 2


def test_delete_of_archives(filled: Run) -> None:
    done = filled("delete", "--dry-run", "--list", "::one")
    assert re.match(r"Would delete archive: one +\w{3}, \S+ \S+ \[[0-9a-f]{64}\] \(1/1\)\n", done.err)
    assert archives(filled) == ["one", "two"]
    done = filled("delete", "--list", "--stats", "::", "one", "missing")
    assert done.code == 1
    assert "Deleting archive: one" in done.err and "Archive missing not found (2/2)." in done.err
    assert "Deleted data:" in done.err
    assert archives(filled) == ["two"]
    assert filled("delete", "-a", "t*").code == 0
    assert archives(filled) == []
    assert filled("delete", "-a", "t*", "::two").code == 2


def answering(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_repository_is_deleted_only_after_a_whole_yes(
    filled: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, "yes\n")
    done = filled("delete")
    assert done.code == 2 and "2 archives" in done.err
    assert archives(filled) == ["one", "two"]
    assert filled("delete", "--dry-run").code == 0
    monkeypatch.setenv("BORG_DELETE_I_KNOW_WHAT_I_AM_DOING", "YES")
    done = filled("delete")
    assert done.code == 0, done.err
    assert not (tmp_path / "repo").exists()
    assert filled("list").code == 2


def test_an_append_only_repository_is_not_deleted(run: Run, tmp_path: Path) -> None:
    assert run("init", "-e", "repokey", "--append-only").code == 0
    before = sorted((tmp_path / "repo").rglob("*"))
    done = run("delete", "--force")
    assert done.code == 2 and "append-only" in done.err
    assert sorted((tmp_path / "repo").rglob("*")) == before


def test_a_cache_can_be_deleted_alone(filled: Run) -> None:
    assert filled("delete", "--cache-only").code == 0
    assert archives(filled) == ["one", "two"]


# --- keys ---


@pytest.mark.parametrize("form", ["file", "paper", "html", "raw"])
def test_a_lost_key_comes_back_from_its_copy(
    run: Run, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("init", "--encryption=keyfile").code == 0
    (key,) = [path for path in (tmp_path / "base").rglob("keys/*") if path.is_file()]
    secret = key.read_bytes()
    if form == "file":
        assert run("key", "export", "::", "copy").code == 0
        assert Path("copy").stat().st_mode & 0o777 == 0o600
    elif form == "raw":
        Path("copy").write_bytes(secret)
    else:
        words = ["--paper"] if form == "paper" else ["--qr-html"]
        Path("copy").write_text(run("key", "export", *words).out)
    key.unlink()
    assert run("list").code == 2
    if form == "paper":
        lines = [line for line in Path("copy").read_text().splitlines() if re.match(r" *\d+:", line)]
        typed = [lines[0], lines[1].replace(lines[1].split()[1], "QQQQ"), *lines[1:]]
        answering(monkeypatch, "\n".join(typed) + "\n")
        done = run("key", "import", "--paper")
        assert "Line 1 " in done.err
    elif form == "html":
        from strongroom.crypto.keyqr import payloads
        from strongroom.ids import RepositoryId

        identity = RepositoryId(bytes.fromhex(re.search(r"[0-9a-f]{64}", Path("copy").read_text())[0]))  # type: ignore[index]
        Path("copy").write_text("\n".join(payloads(secret, identity)))
        done = run("key", "import", "::", "copy")
    else:
        done = run("key", "import", "::", "copy")
    assert done.code == 0, done.err
    assert run("list").code == 0


def test_import_needs_one_source(repository: Run) -> None:
    assert repository("key", "import").code == 2
    assert repository("key", "import", "--paper", "::", "x").code == 2
    assert repository("key", "import", "::", "missing").code == 2
    Path("x").write_text("nonsense")
    done = repository("key", "import", "::", "x")
    assert done.code == 2 and len(done.err.splitlines()) == 1
    assert repository("key", "export", "--paper", "--qr-html").code == 2
    assert repository("key", "export", "::", ".").code == 2


def test_a_lone_word_is_the_copy_where_the_repository_is_known(
    repository: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    assert repository("key", "export", str(copy)).code == 0
    text = copy.read_text()
    assert text.startswith("STRONGROOM_KEY ")
    assert repository("key", "import", str(copy)).code == 0
    where = os.environ["STRONGROOM_REPO"]
    assert repository("key", "export", where).out == text  # a folder is still the repository
    monkeypatch.delenv("STRONGROOM_REPO")
    assert repository("-r", where, "key", "export", str(tmp_path / "other")).code == 0
    assert (tmp_path / "other").read_text() == text


def test_init_hands_out_a_key_that_only_writes(run: Run, tmp_path: Path) -> None:
    done = run("init", "--encryption=keyfile", "--backup-key")
    assert done.code == 0 and "opens nothing" in done.err
    keys = tmp_path / "base" / ".config" / "strongroom" / "keys"
    (admin,) = keys.glob("*__admin")
    admin.rename(tmp_path / "in the safe")
    Path("file").write_text("text")
    assert run("create", "::one", "file").code == 0
    assert run("info").code == 0
    refused = run("list", "::one")
    assert refused.code == 2 and "only a backup key" in refused.err
    (tmp_path / "in the safe").rename(admin)
    assert run("list", "--short", "::one").out == "file\n"


def test_an_unfinished_paper_key_imports_nothing(repository: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = repository("key", "export", "--paper").out.splitlines()[4]
    answering(monkeypatch, first + "\n")
    assert repository("key", "import", "--paper").code == 2
    answering(monkeypatch, first + "\n\ny\n")
    done = repository("key", "import", "--paper")
    assert done.code == 2 and "Nothing was imported." in done.err


def test_passphrases_change(repository: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BORG_NEW_PASSPHRASE", "fresh")
    done = repository("key", "change-passphrase", "-v")
    assert done.code == 0 and "Key location: " in done.err
    monkeypatch.setenv("BORG_EXIT_CODES", "modern")
    assert repository("list").code == 52
    monkeypatch.setenv("STRONGROOM_PASSPHRASE", "fresh")
    assert repository("list").code == 0


def test_keys_are_added_listed_and_revoked(repository: Run) -> None:
    done = repository("key", "add", "--role", "backup", "--no-passphrase", "--output", "web.key", "::", "web")
    assert done.code == 0, done.err
    assert Path("web.key").stat().st_mode & 0o777 == 0o600
    assert repository("key", "add", "-r", "::", "web").code == 2
    found = repository("key", "list", "--json").json["keys"]
    assert [(key["name"], key["role"], key["revoked"]) for key in found] == [
        ("admin", "admin", None),
        ("web", "backup", None),
    ]
    assert repository("key", "revoke", "::", "web").code == 0
    shown = repository("key", "list").out.splitlines()
    assert "revoked" in shown[2] and "valid" in shown[1]
    assert repository("key", "revoke", "::", "nobody").code == 2


def test_questions_in_json(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "NO\n")
    done = filled("delete", "--log-json")
    kinds = [json.loads(line)["type"] for line in done.err.splitlines()]
    assert kinds == ["question_prompt", "question_accepted_false", "log_message"]
