import os
from pathlib import Path

import pytest

from founded import founded_at
from strongroom.errors import PathNotAllowed, PathOccupied
from strongroom.server.access import check_not_nested, resolve


def allowed(wanted: Path | str | bytes, paths: list[Path] = [], repositories: list[Path] = []) -> str:  # noqa: B006
    return resolve(os.fsencode(wanted), [str(p) for p in paths], [str(p) for p in repositories]).path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a server has: a folder each for two clients, and something else."""
    for name in ("laptop", "laptop2", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_path_means_what_the_login_shell_would_mean(home: Path) -> None:
    for wanted in (home / "laptop/repo", "laptop/repo", "./laptop/repo", "~/laptop/repo", "laptop/x/../repo"):
        assert allowed(wanted, [home / "laptop"]) == str(home / "laptop/repo")


@pytest.mark.parametrize(
    "wanted",
    [
        "laptop2",
        "laptop2/repo",
        ".",
        "..",
        "/",
        "laptop/..",
        "laptop/../laptop2",
        "laptop/x/../../other",
        "~",
        "~nobody-here/x",
        "/laptop",
        "laptop\x00/x",
        "laptop/\x00",
        "link/repo",
        "laptop/link/x",
        "laptop/up/laptop2/x",
    ],
)
def test_what_lies_outside_of_the_restriction_is_refused(home: Path, wanted: str) -> None:
    (home / "link").symlink_to(home / "other")
    (home / "laptop/link").symlink_to(home / "other")
    (home / "laptop/up").symlink_to("..")
    with pytest.raises(PathNotAllowed):
        allowed(wanted, [home / "laptop"])


def test_a_restriction_through_a_link_means_where_it_leads(home: Path) -> None:
    (home / "alias").symlink_to(home / "laptop")
    assert allowed("laptop/repo", [home / "alias"]) == str(home / "laptop/repo")
    assert allowed("alias/repo", [home / "laptop"]) == str(home / "laptop/repo")


def test_a_repository_restriction_admits_only_itself(home: Path) -> None:
    one = [home / "laptop"]
    assert (
        allowed("laptop", repositories=one) == allowed("./laptop/", repositories=one) == str(home / "laptop")
    )
    for wanted in ("laptop/sub", "laptop2", "."):
        with pytest.raises(PathNotAllowed):
            allowed(wanted, repositories=one)


def test_both_kinds_of_restriction_must_admit(home: Path) -> None:
    assert allowed("laptop", [home], [home / "laptop"]) == str(home / "laptop")
    with pytest.raises(PathNotAllowed):
        allowed("laptop", [home / "other"], [home / "laptop"])


def test_a_quota_covers_the_restricted_folder_or_else_the_repository(home: Path) -> None:
    path = os.fsencode(home / "laptop/repo")
    assert resolve(path, [str(home / "laptop")], []).scope == str(home / "laptop")
    assert resolve(path, [], []).scope == str(home / "laptop/repo")
    assert resolve(path, [str(home)], [str(home / "laptop/repo")]).scope == str(home / "laptop/repo")


def test_without_restriction_every_path_is_admitted(home: Path) -> None:
    assert allowed("/srv/x") == "/srv/x"


def test_a_repository_inside_of_another_is_refused(home: Path) -> None:
    founded_at(home / "laptop/repo")
    for inner in ("laptop/repo/packs", "laptop/repo/a/b/c", "laptop/repo/tmp"):
        with pytest.raises(PathOccupied, match="inside of the repository"):
            check_not_nested(str(home / inner))
    (home / "config").write_text("[core] somebody else's")
    check_not_nested(str(home / "laptop/repo2"))
