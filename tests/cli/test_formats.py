"""What `list`, `info` and `--stats` print is what Borg prints."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import blake3
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from strongroom.archive.entries import Entry
from strongroom.cli import archive_format, item_format, reports
from strongroom.cli.formats import Moment, Template, format_duration, format_size, unescape
from strongroom.commands.results import ArchiveInfo, Distrust, RepositoryInfo, RepositoryTotals, Stats
from strongroom.errors import InvalidPlaceholder, PlaceholderError
from strongroom.ids import ArchiveId, RepositoryId
from strongroom.store.reserve import Reserved

START = datetime(2026, 11, 23, 15, 53, 47, 123456, tzinfo=UTC)
INFO = ArchiveInfo(
    id=ArchiveId(b"\xab" * 32),
    seq=2,
    name="one",
    comment="first",
    hostname="vm",
    username="root",
    command_line=["strongroom", "create", "::one", "a b"],
    start=START,
    end=START + timedelta(seconds=0.021008),
    stats=Stats(files=2, original=4, compressed=90, deduplicated=0),
    cwd="/tmp/bt",
    written_by="admin",
)
TOTALS = RepositoryTotals(original=12, compressed=270, deduplicated=2033, unique_chunks=6, total_chunks=12)
CONTENT = b"hello\n"


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Contents:
    def read(self, entry: Entry) -> Iterable[bytes]:
        return [CONTENT[:2], CONTENT[2:]]

    def compressed_size(self, entry: Entry) -> int:
        return 5

    def unique(self, entry: Entry) -> tuple[int, int, int]:
        return 1, 6, 5

    def is_whole(self, entry: Entry) -> bool:
        return True


def entry(mode: int = 0o100644, **more: object) -> Entry:
    fields: dict[str, object] = {
        "name": b"x", "mode": mode, "uid": 1000, "gid": 1001, "user": "me", "group": None,
        "mtime": 1_795_449_226_852_441_999, "size": 6, "content": b"\1" * 32,
    }  # fmt: skip
    return Entry(**(fields | more))  # type: ignore[arg-type]


def lines(text: str | None, *items: tuple[bytes, Entry], **more: bool) -> list[str]:
    formatter = item_format.ItemFormatter(text, INFO, Contents(), **more)
    return [formatter.line(path, one) for path, one in items]


def test_default_lines_are_borgs() -> None:
    link = {"link": b"1"}
    assert lines(
        None,
        (b"src", entry(0o40755, size=0, content=b"")),
        (b"src/b", entry(**link)),
        (b"src/a", entry(**link)),
        (b"src/l", entry(0o120777, target=b"a", size=0, content=b"")),
        (b"src/f", entry(0o10644, size=0, content=b"", user=None)),
        (b"src/n\xff\nl", entry(size=1)),
    ) == [
        "drwxr-xr-x me       1001        0 Mon, 2026-11-23 15:53:46 src\n",
        "-rw-r--r-- me       1001        6 Mon, 2026-11-23 15:53:46 src/b\n",
        "hrw-r--r-- me       1001        0 Mon, 2026-11-23 15:53:46 src/a link to src/b\n",
        "lrwxrwxrwx me       1001        1 Mon, 2026-11-23 15:53:46 src/l -> a\n",
        "prw-r--r--   1000   1001        0 Mon, 2026-11-23 15:53:46 src/f\n",
        "-rw-r--r-- me       1001        1 Mon, 2026-11-23 15:53:46 src/n?\nl\n",
    ]


def test_names_are_harmless_on_a_terminal_and_verbatim_in_a_pipe() -> None:
    item = (b"a\x1b[2J\r\n\xff", entry(user="\x1b[31mroot"))
    assert lines("{path}|{user}", item, safe=True) == ["a\\x1b[2J\\r\\n?|\\x1b[31mroot"]
    assert lines("{path}", item) == ["a\x1b[2J\r\n?"]
    assert lines("{bpath}", item, safe=True) == ["a\\x1b[2J\\r\\n?"]
    assert lines("{bpath}", item)[0].encode("utf-8", "surrogateescape") == item[0]


def test_every_key_can_be_printed() -> None:
    for key in item_format.KEYS:
        assert isinstance(lines(f"{{{key}}}", (b"p", entry()))[0], str)
    gone = replace(
        INFO,
        deleted=START,
        deleted_by="web",
        requested=START,
        requested_by="web",
        distrust=Distrust("web", 1),
    )
    for key in archive_format.KEYS:
        assert archive_format.ArchiveFormatter(f"{{{key}}}").line(gone)


def test_borgs_keys_are_all_there() -> None:
    borg = (
        "type mode uid gid user group path bpath source linktarget flags size csize dsize dcsize num_chunks"
    )
    borg += (
        " unique_chunks mtime ctime atime isomtime isoctime isoatime archiveid archivename extra health xxh64"
    )
    borg += " blake2b blake2s md5 sha1 sha224 sha256 sha384 sha3_224 sha3_256 sha3_384 sha3_512 sha512"
    assert set(borg.split()) <= set(item_format.KEYS)
    borg = "archive name barchive comment bcomment id tam start time end command_line hostname username"
    assert set(borg.split()) <= set(archive_format.KEYS)


def test_hashes_are_of_the_content() -> None:
    text = "{sha256} {md5} {xxh64} {blake3}"
    assert lines(text, (b"p", entry())) == [
        f"{hashlib.sha256(CONTENT).hexdigest()} {hashlib.md5(CONTENT).hexdigest()} "
        f"{xxhash.xxh64(CONTENT).hexdigest()} {blake3.blake3(CONTENT).hexdigest()}"
    ]
    assert lines("{sha256}", (b"d", entry(0o40755, content=b""))) == [""]


def test_sizes_and_counts() -> None:
    text = "{size:10d}|{size:<4}|{num_chunks}|{csize}|{dsize}|{dcsize}|{unique_chunks}|{health}"
    assert lines(text, (b"p", entry())) == ["         6|6   |1|5|6|5|1|healthy"]


def test_times() -> None:
    text = "{mtime:%Y}|{isomtime}|{ctime}|{isoatime}"
    assert lines(text, (b"p", entry(ctime=0))) == [
        "2026|2026-11-23T15:53:46.852442|Thu, 1970-01-01 00:00:00|2026-11-23T15:53:46.852442"
    ]


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_file_time_can_be_shown(stamp: int) -> None:
    assert str(Moment.of_nanoseconds(stamp))
    assert Moment.of_nanoseconds(stamp).iso()


def test_json_lines_are_borgs() -> None:
    formatter = item_format.ItemFormatter(None, INFO, Contents())
    line = formatter.json_line(b"src/b", entry())
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "type": "-", "mode": "-rw-r--r--", "user": "me", "group": 1001, "uid": 1000, "gid": 1001,
        "path": "src/b", "healthy": True, "source": "", "linktarget": "", "flags": 0,
        "mtime": "2026-11-23T15:53:46.852442", "size": 6,
    }  # fmt: skip
    more = item_format.ItemFormatter("{sha256}{archivename}", INFO, Contents())
    record = json.loads(more.json_line(b"\xff", entry()))
    assert record["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert record["archivename"] == "one"
    assert "mtime" not in record


def test_archive_lines_are_borgs() -> None:
    identity = "ab" * 32
    assert archive_format.ArchiveFormatter(None).line(INFO) == (
        f"one                                  Mon, 2026-11-23 15:53:47 [{identity}]\n"
    )
    assert archive_format.ArchiveFormatter(None, short=True).line(INFO) == "one\n"
    assert archive_format.archive_line(INFO).startswith("one          ")
    text = "{comment}|{end}|{command_line}|{hostname}\\t{username}"
    assert archive_format.ArchiveFormatter(text).line(INFO) == (
        "first|Mon, 2026-11-23 15:53:47|strongroom create ::one 'a b'|vm\troot"
    )


def test_names_of_archives_are_harmless_on_a_terminal() -> None:
    evil = ArchiveInfo(id=INFO.id, seq=1, name="a\x1b[2J", comment="b\nc", start=START)
    text = "{name}{TAB}{bcomment}{NL}"
    assert archive_format.ArchiveFormatter(text, safe=True).line(evil) == "a\\x1b[2J\tb\\nc\n"
    assert archive_format.ArchiveFormatter(text).line(evil) == "a\x1b[2J\tb\nc\n"


def test_archive_records_are_borgs() -> None:
    assert archive_format.ArchiveFormatter(None).record(INFO) == {
        "archive": "one", "barchive": "one", "id": "ab" * 32, "name": "one",
        "start": "2026-11-23T15:53:47.000000", "time": "2026-11-23T15:53:47.000000",
    }  # fmt: skip
    record = archive_format.ArchiveFormatter("{command_line}{NL}{comment}").record(INFO)
    assert record["command_line"] == INFO.command_line
    assert record["comment"] == "first"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a\\n", "a\n"), ("\\t\\0", "\t\0"), ("\\\\n", "\\n"), ("\\x41\\u00e9", "Aé"), ("\\101", "A"),
        ("\\q", "\\q"), ("\\x", "\\x"), ("é", "é"), ("\\", "\\"),
    ],
)  # fmt: skip
def test_backslashes_in_formats(text: str, meaning: str) -> None:
    assert unescape(text) == meaning


def test_constants_and_conversions() -> None:
    assert Template("{TAB}{NL}{SPACE:>3}{a!r:>5}{{}}", ["a"]).fill({"a": "x"}) == "\t\n     'x'{}"
    assert Template("{LF}{CR}{NUL}{NEWLINE}", []).fill({}) == "\n\r\0\n"


@pytest.mark.parametrize("text", ["{nope}", "{path.__class__}", "{0}", "{path[0]}", "{}"])
def test_unknown_keys_are_named(text: str) -> None:
    with pytest.raises(InvalidPlaceholder, match="There are: "):
        Template(text, ["path"])


def test_bad_formats_are_refused_with_a_sentence() -> None:
    with pytest.raises(PlaceholderError):
        Template("{path", ["path"])
    with pytest.raises(PlaceholderError, match="path:d"):
        Template("{path:d}", ["path"]).fill({"path": "x"})


@pytest.mark.parametrize(
    ("size", "decimal", "iec"),
    [
        (0, "0 B", "0 B"),
        (999, "999 B", "999 B"),
        (1000, "1.00 kB", "1000 B"),
        (1024, "1.02 kB", "1.00 KiB"),
        (999_999, "1.00 MB", "976.56 KiB"),
        (1_234_567_890, "1.23 GB", "1.15 GiB"),
        (-1180, "-1.18 kB", "-1.15 KiB"),
        (10**27, "1000.00 YB", "827.18 YiB"),
    ],
)
def test_sizes_are_borgs(size: int, decimal: str, iec: str) -> None:
    assert format_size(size) == decimal
    assert format_size(size, iec=True) == iec


def test_durations_are_borgs() -> None:
    assert format_duration(timedelta(seconds=0.02)) == "0.02 seconds"
    assert format_duration(timedelta(hours=1, minutes=2, seconds=3)) == "1 hours 2 minutes 3.00 seconds"
    assert format_duration(timedelta(days=2, hours=1)) == "2 days 1 hours 0.00 seconds"


def test_stats_block_is_borgs() -> None:
    assert (
        "\n".join(reports.create_lines("/tmp/bt/repo", INFO, TOTALS, iec=False))
        == f"""\
------------------------------------------------------------------------------
Repository: /tmp/bt/repo
Archive name: one
Archive fingerprint: {"ab" * 32}
Time (start): Mon, 2026-11-23 15:53:47
Time (end):   Mon, 2026-11-23 15:53:47
Duration: 0.02 seconds
Number of files: 2
Utilization of max. archive size: 0%
------------------------------------------------------------------------------
                       Original size      Compressed size    Deduplicated size
This archive:                    4 B                 90 B                  0 B
All archives:                   12 B                270 B              2.03 kB

                       Unique chunks         Total chunks
Chunk index:                       6                   12
------------------------------------------------------------------------------"""
    )
    assert "All archives" not in "\n".join(reports.create_lines("/r", INFO, None, iec=False))


def test_info_block_is_borgs_and_then_our_own() -> None:
    info = replace(INFO, added=7, stats=replace(INFO.stats, deduplicated=5))
    assert (
        "\n".join(reports.archive_lines(info, TOTALS, iec=False))
        == f"""\
Archive name: one
Archive fingerprint: {"ab" * 32}
Comment: first
Hostname: vm
Username: root
Time (start): Mon, 2026-11-23 15:53:47
Time (end): Mon, 2026-11-23 15:53:47
Duration: 0.02 seconds
Number of files: 2
Working Directory: /tmp/bt
Command line: strongroom create ::one 'a b'
Utilization of maximum supported archive size: 0%
------------------------------------------------------------------------------
                       Original size      Compressed size    Deduplicated size
This archive:                    4 B                 90 B                  5 B
All archives:                   12 B                270 B              2.03 kB

                       Unique chunks         Total chunks
Chunk index:                       6                   12

Added when it was made: 7 B
Freed if it is deleted: 5 B"""
    )


def test_names_in_blocks_cannot_act_on_a_terminal() -> None:
    evil = ArchiveInfo(id=INFO.id, seq=1, name="a\x1b[2Jb", comment="x\ny", command_line=["\x07"])
    assert not any(char in "".join(reports.archive_lines(evil, TOTALS, iec=False)) for char in "\x1b\x07\n")


def repository(encryption: str = "keyfile") -> RepositoryInfo:
    return RepositoryInfo(
        id=RepositoryId(b"\xcd" * 32), location="/repo", encryption=encryption, key_file="/keys/repo",
        role="admin", created=START, last_modified=START, cache_path="/cache", security_path="/security",
        totals=TOTALS, append_only=False, reserve=Reserved(5, 7), quarantine=1,
    )  # fmt: skip


def test_repository_block_begins_as_borgs() -> None:
    shown = reports.repository_lines(repository(), iec=False)
    assert shown[:4] == [
        f"Repository ID: {'cd' * 32}", "Location: /repo", "Encrypted: Yes (keyfile)", "Key file: /keys/repo",
    ]  # fmt: skip
    assert "Quarantine: 1 day" in shown
    assert "Kept for a full disk: 5 B of 7 B" in shown
    assert "Cache: /cache" in shown and "Security dir: /security" in shown
    assert "Encrypted: No" in reports.repository_lines(repository("none"), iec=False)


def test_json_of_repository_and_archives_has_borgs_keys() -> None:
    info = repository()
    assert reports.repository_record(info) == {
        "repository": {"id": "cd" * 32, "location": "/repo", "last_modified": "2026-11-23T15:53:47.000000"},
        "encryption": {"mode": "keyfile", "keyfile": "/keys/repo"},
    }
    stats = reports.cache_record(info, TOTALS)["stats"]
    assert isinstance(stats, dict)
    assert set(stats) == {
        "total_chunks", "total_csize", "total_size", "total_unique_chunks", "unique_csize", "unique_size",
    }  # fmt: skip
    borg = "chunker_params command_line comment cwd duration end hostname id limits name start stats username"
    assert set(reports.archive_record(INFO)) == {*borg.split(), "added_size", "freed_size"}
    assert set(reports.created_record(INFO)) == {
        "command_line", "duration", "end", "id", "limits", "name", "start", "stats",
    }  # fmt: skip
    assert reports.created_record(INFO)["duration"] == pytest.approx(0.021008)
    json.dumps(reports.archive_record(INFO))


def test_archives_whose_name_is_sealed_can_be_listed() -> None:
    sealed = ArchiveInfo(id=INFO.id, seq=1, name=None, start=START)
    assert archive_format.ArchiveFormatter(None).line(sealed).startswith("(sealed abababab)")


def test_paths_decode_like_the_file_system() -> None:
    assert os.fsdecode(b"\xff") == "\udcff"


def test_a_file_time_is_rounded_as_borg_rounds_it() -> None:
    """What `safe_timestamp` of Borg 1.4.5 makes of this number."""
    assert Moment.of_nanoseconds(1_763_912_082_668_387_600).iso().endswith(".668388")
