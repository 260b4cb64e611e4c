"""Locations mean what they mean to Borg."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli.arguments import ARCHIVE, EITHER, REPOSITORY
from strongroom.cli.environment import Environment
from strongroom.cli.location import resolve
from strongroom.cli.placeholders import Placeholders
from strongroom.errors import CommandError
from strongroom.store.location import Location, parse_location

SSH = "ssh"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/some/path", Location("file", "/some/path")),
        ("/some/path::archive", Location("file", "/some/path", archive="archive")),
        ("/some//path/../other", Location("file", "/some/other")),
        ("some/path::archive", Location("file", "some/path", archive="archive")),
        ("path", Location("file", "path")),
        ("/abs/path:w:cols::arch:col", Location("file", "/abs/path:w:cols", archive="arch:col")),
        ("/a::b::c", Location("file", "/a", archive="b::c")),
        ("./a:b", Location("file", "a:b")),
        ("file:///some/path::archive", Location("file", "/some/path", archive="archive")),
        ("file://localhost/some/path", Location("file", "/some/path")),
        ("ssh://host/some/path", Location(SSH, "/some/path", host="host")),
        ("ssh://user@host:1234/some/path::a", Location(SSH, "/some/path", "user", "host", 1234, "a")),
        ("ssh://host/./some/path", Location(SSH, "some/path", host="host")),
        ("ssh://host/./laptop::a", Location(SSH, "laptop", host="host", archive="a")),
        ("ssh://host/~/some/path", Location(SSH, "~/some/path", host="host")),
        ("ssh://host/~other/path", Location(SSH, "~other/path", host="host")),
        ("user@host:/some/path", Location(SSH, "/some/path", "user", "host")),
        ("user@host:some/path::a", Location(SSH, "some/path", "user", "host", archive="a")),
        ("user@host:~/path", Location(SSH, "~/path", "user", "host")),
        ("host:path", Location(SSH, "path", host="host")),
        ("ssh://user@[::1]:22/path", Location(SSH, "/path", "user", "::1", 22)),
        ("ssh://[2001:db8::c0:ffee]/p::a", Location(SSH, "/p", host="2001:db8::c0:ffee", archive="a")),
        ("user@[2001:db8::1]:path::a", Location(SSH, "path", "user", "2001:db8::1", archive="a")),
        ("ssh://192.0.2.1/p", Location(SSH, "/p", host="192.0.2.1")),
    ],
)
def test_locations_are_read_as_borg_reads_them(text: str, expected: Location) -> None:
    assert parse_location(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "::",
        "::archive",
        "/path::",
        "/path::a/b",
        "ssh://host",
        "ssh://host:0/p",
        "ssh://host:70000/p",
        "ssh://:22/p",
        "ssh:///p",
        "file://server/share",
        "s3://bucket/path",
        "ssh://-oProxyCommand=evil/p",
        "-oProxyCommand=evil:p",
        "-x@host:p",
        "ssh://[not-ip]/p",
        "a\0b",
    ],
)
def test_what_is_no_location_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(CommandError) as refusal:
        parse_location(text)
    assert str(refusal.value).endswith(".")


@given(
    st.sampled_from(["/srv/repo", "repo", "~/repo", "a/b c", "~user"]),
    st.sampled_from(["host", "192.0.2.1", "2001:db8::1"]),
    st.sampled_from([None, "user"]),
    st.sampled_from([None, 1, 65535]),
    st.sampled_from([None, "archive", "a:b"]),
)
def test_the_canonical_spelling_means_the_same(
    path: str, host: str, user: str | None, port: int | None, archive: str | None
) -> None:
    location = Location(SSH, path, user, host, port, archive)
    assert parse_location(str(location)) == location


def test_local_paths_become_absolute() -> None:
    assert parse_location("repo").canonical() == os.path.join(os.getcwd(), "repo")


def test_key_file_names_are_borgs() -> None:
    assert parse_location("/mnt/my backup").key_file_name() == "mnt_my_backup"
    assert parse_location("backup@server.example:repo").key_file_name() == "server_example__repo"
    assert len(parse_location("/" + "x" * 300).key_file_name()) == 100


def find(words: str, repo: str | None = None, expects: str = EITHER, **variables: str) -> Location:
    environment = Environment(variables)
    return resolve(words, repo, expects, environment, Placeholders(environment))


def test_the_environment_names_the_repository() -> None:
    expected = Location("file", "/repo", archive="a")
    assert find("::a", BORG_REPO="/repo") == expected
    assert find("::a", STRONGROOM_REPO="/repo", BORG_REPO="/other") == expected
    assert find("", BORG_REPO="/repo") == expected.repository()
    assert find("::", BORG_REPO="/repo") == expected.repository()
    assert find("/there::a", BORG_REPO="/repo").path == "/there"


def test_r_is_stronger_than_the_environment() -> None:
    assert find("a", "/repo", ARCHIVE, BORG_REPO="/other") == Location("file", "/repo", archive="a")
    assert find("::a", "/repo") == Location("file", "/repo", archive="a")
    assert find("", "user@host:r") == Location(SSH, "r", "user", "host")


def test_placeholders_are_filled_in_locations() -> None:
    assert find("/srv/{hostname}::{user}", STRONGROOM_HOSTNAME="lap", BORG_USERNAME="me") == Location(
        "file", "/srv/lap", archive="me"
    )
    assert find("::x", STRONGROOM_REPO="/srv/{hostname}", STRONGROOM_HOSTNAME="lap").path == "/srv/lap"


@pytest.mark.parametrize(
    ("words", "repo", "expects"),
    [
        ("", None, EITHER),
        ("::a", None, EITHER),
        ("/repo", None, ARCHIVE),
        ("/repo::a", None, REPOSITORY),
        ("", "/repo", ARCHIVE),
        ("a/b", "/repo", ARCHIVE),
        ("a", "/repo::b", ARCHIVE),
        ("/repo::..", None, ARCHIVE),
    ],
)
def test_what_does_not_fit_the_command_is_refused(words: str, repo: str | None, expects: str) -> None:
    with pytest.raises(CommandError):
        find(words, repo, expects)
