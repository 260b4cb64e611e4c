from pathlib import Path

import pytest

from strongroom.cli.environment import Environment, borg_keys, directories


def places(**variables: str) -> list[str]:
    found = directories(Environment(variables))
    return [str(path) for path in (found.config, found.cache, found.keys, found.security)]


def test_our_variables_win_over_borgs() -> None:
    environment = Environment({"BORG_REPO": "borg", "STRONGROOM_REPO": "ours", "BORG_RSH": "ssh -x"})
    assert environment.get("REPO") == "ours"
    assert environment.name_of("REPO") == "STRONGROOM_REPO"
    assert environment.get("RSH") == "ssh -x"
    assert environment.name_of("RSH") == "BORG_RSH"
    assert environment.get("PASSPHRASE") is None


def test_an_empty_variable_of_ours_counts() -> None:
    assert Environment({"STRONGROOM_PASSPHRASE": "", "BORG_PASSPHRASE": "x"}).get("PASSPHRASE") == ""


@pytest.mark.parametrize("name", ["STRONGROOM_EXIT_CODES", "BORG_EXIT_CODES"])
def test_modern_exit_codes(name: str) -> None:
    assert Environment({name: "modern"}).modern_exit_codes
    assert not Environment({name: "legacy"}).modern_exit_codes


def test_folders_follow_home_and_xdg() -> None:
    config = "/h/.config/strongroom"
    assert places(HOME="/h") == [config, "/h/.cache/strongroom", f"{config}/keys", f"{config}/security"]
    assert places(HOME="/h", XDG_CACHE_HOME="/c", XDG_CONFIG_HOME="/x")[:2] == [
        "/x/strongroom",
        "/c/strongroom",
    ]


def test_base_dir_moves_everything_whatever_xdg_says() -> None:
    found = places(HOME="/h", BORG_BASE_DIR="/b", XDG_CACHE_HOME="/c", XDG_CONFIG_HOME="/x")
    assert found[:2] == ["/b/.config/strongroom", "/b/.cache/strongroom"]


def test_single_folders_can_be_named() -> None:
    found = places(
        HOME="/h", BORG_CONFIG_DIR="/1", STRONGROOM_CACHE_DIR="/2", BORG_KEYS_DIR="/3", BORG_SECURITY_DIR="/4"
    )
    assert found == ["/1", "/2", "/3", "/4"]
    assert places(HOME="/h", BORG_CONFIG_DIR="/1")[2] == "/1/keys"


def test_the_key_file_can_be_named() -> None:
    assert directories(Environment({"HOME": "/h", "BORG_KEY_FILE": "/k"})).key_file == Path("/k")
    assert directories(Environment({"HOME": "/h"})).key_file is None


def test_without_home_the_password_database_answers() -> None:
    assert places()[0].startswith("/")


@pytest.mark.parametrize(
    ("value", "indent"), [(None, 4), ("2", 2), ("none", None), ("None", None), ("", ""), ("\t", "\t")]
)
def test_json_indent_is_borgs(value: str | None, indent: object) -> None:
    variables = {} if value is None else {"BORG_JSON_INDENT": value}
    assert Environment(variables).json_indent == indent


def test_borgs_key_files_are_where_borg_says_whatever_we_are_told_of_ours() -> None:
    both = {"STRONGROOM_BASE_DIR": "/ours", "BORG_BASE_DIR": "/borgs", "XDG_CONFIG_HOME": "/elsewhere"}
    assert borg_keys(Environment(both)) == Path("/borgs/.config/borg/keys")
    assert borg_keys(Environment({"STRONGROOM_BASE_DIR": "/ours"})) == Path("/ours/.config/borg/keys")
