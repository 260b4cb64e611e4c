"""`cat` writes what was asked for or nothing; `du` and `info` tell what folders and archives take."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def archive(repository: Run) -> Run:
    src = Path("src")
    (src / "one").mkdir(parents=True)
    (src / "two/deep").mkdir(parents=True)
    (src / "one/random").write_bytes(os.urandom(1_000_000))
    (src / "one/text").write_text("hello\n")
    (src / "two/text").write_text("world\n")
    shutil.copy(src / "one/random", src / "two/deep/copy")
    (src / "link").symlink_to("one/text")
    with (src / "sparse").open("wb") as file:
        file.truncate(3_000_000)
        file.seek(2_999_000)
        file.write(b"end")
    assert repository("create", "::a", "src").code == 0
    return repository


def test_files_are_written_in_the_order_they_are_named(archive: Run) -> None:
    assert (
        archive("cat", "::a", "src/two/text", "/src/one/text", "./src//two/text").out
        == "world\nhello\nworld\n"
    )
    assert archive("cat", "::a", "src/sparse").out == Path("src/sparse").read_bytes().decode()


def test_without_one_of_them_nothing_is_written(archive: Run) -> None:
    for wrong in ("src/no such", "src/one", "src/link", "src/one/text/x", ".", "src/two/tex"):
        done = archive("cat", "::a", "src/one/text", wrong)
        assert (done.code, done.out) == (2, "") and len(done.err.splitlines()) == 1, done
    assert archive("cat", "::a").code == 2


def sizes(run: Run, *words: str) -> dict[str, dict[str, int]]:
    done = run("du", "--json-lines", *words)
    assert done.code == 0, done
    return {one["path"]: one for one in map(json.loads, done.out.splitlines())}


def test_folders_are_shown_to_the_depth_asked_for(archive: Run) -> None:
    assert list(sizes(archive, "::a")) == [".", "src"]
    assert list(sizes(archive, "::a", "src")) == ["src", "src/one", "src/two"]
    assert list(sizes(archive, "::a", "-d", "0", "src/two")) == ["src/two"]
    assert len(sizes(archive, "::a", "--all")) == 5
    assert archive("du", "::a", "src/one/text").code == 2
    assert archive("du", "::a", "src", "--sort-by", "size").out.splitlines()[1].endswith(" src")


def test_what_two_folders_share_is_neithers_own(archive: Run) -> None:
    found = sizes(archive, "::a", "--all")
    assert found["src/two/deep"]["size"] == 1_000_000
    # where the seed cuts small chunks, they share bundles, and so their size, with the zeros of `sparse`
    assert found["src/two/deep"]["stored"] > 200_000 and found["src/two/deep"]["unique"] == 0
    assert found["src"]["unique"] > 200_000 > found["src/one"]["unique"] > 0
    assert archive("create", "::b", "src/one").code == 0
    assert sizes(archive, "::a", "--all")["src"]["unique"] < found["src"]["unique"] / 2


def test_info_tells_what_an_archive_added_and_what_it_would_free(archive: Run) -> None:
    Path("src/new").write_bytes(os.urandom(500_000))
    assert archive("create", "::b", "src").code == 0
    (info,) = archive("info", "--json", "::b").json["archives"]
    assert 500_000 < info["freed_size"] < 600_000 and 500_000 < info["added_size"] < 600_000
    (info,) = archive("info", "--json", "::a").json["archives"]
    assert info["added_size"] > 1_000_000 and info["freed_size"] < 1000
    assert archive("create", "::c", "src").code == 0
    (info,) = archive("info", "--json", "::b").json["archives"]
    assert info["added_size"] > 500_000 and info["freed_size"] == 0
    lines = archive("info", "::b").out.splitlines()
    assert lines[-1] == "Freed if it is deleted: 0 B" and lines[-2].startswith("Added when it was made: 50")
