"""The environment: `STRONGROOM_X`, or else Borg's `BORG_X`; and the folders that it points to."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.repository.places import Directories

OURS = "STRONGROOM_"
BORG = "BORG_"


class Environment:
    """Variables by the part of their name after the prefix: `get("REPO")`."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables

    def name_of(self, name: str) -> str | None:
        """The full name of the variable that `get` reads; None if neither is set."""
        return next((p + name for p in (OURS, BORG) if p + name in self._variables), None)

    def get(self, name: str) -> str | None:
        full = self.name_of(name)
        return None if full is None else self._variables[full]

    def plain(self, name: str) -> str | None:
        """A variable that is not ours: HOME, XDG_CACHE_HOME."""
        return self._variables.get(name)

    def is_yes(self, name: str, default: bool) -> bool:
        value = self.get(name)
        return default if value is None else value.lower() in {"yes", "y", "1", "true", "on"}

    @property
    def modern_exit_codes(self) -> bool:
        return self.get("EXIT_CODES") == "modern"

    @property
    def json_indent(self) -> int | str | None:
        """For `json.dumps`; Borg's JSON_INDENT: a number, a text, or "none" for one line."""
        value = self.get("JSON_INDENT")
        if value is None:
            return 4
        if value.lower() == "none":
            return None
        return int(value) if value.isdigit() else value


class OtherEnvironment(Environment):
    """For a second repository: passphrases from `STRONGROOM_OTHER_PASSPHRASE` and its like, if one is set."""

    _PASSPHRASES = ("PASSPHRASE", "PASSCOMMAND", "PASSPHRASE_FD")

    def __init__(self, first: Environment) -> None:
        super().__init__(first._variables)
        self._has_own = any(first.name_of(f"OTHER_{name}") for name in self._PASSPHRASES)

    def name_of(self, name: str) -> str | None:
        own = self._has_own and name in self._PASSPHRASES
        return super().name_of(f"OTHER_{name}" if own else name)


class BorgEnvironment(OtherEnvironment):
    """For a repository that Borg made: its passphrase from `BORG_PASSPHRASE` and its like before ours."""

    def name_of(self, name: str) -> str | None:
        borgs = [BORG + one for one in self._PASSPHRASES if BORG + one in self._variables]
        if name in self._PASSPHRASES and borgs and not self._has_own:
            return BORG + name if BORG + name in borgs else None
        return super().name_of(name)


def directories(environment: Environment) -> "Directories":
    """Borg's rules, with our own folder name. Nothing is created here."""
    from pathlib import Path

    from strongroom.repository.places import Directories

    base = _base(environment)
    config = _place(environment, "CONFIG_DIR", "XDG_CONFIG_HOME", base / ".config")
    return Directories(
        config=config,
        cache=_place(environment, "CACHE_DIR", "XDG_CACHE_HOME", base / ".cache"),
        keys=Path(environment.get("KEYS_DIR") or config / "keys"),
        security=Path(environment.get("SECURITY_DIR") or config / "security"),
        key_file=Path(named) if (named := environment.get("KEY_FILE")) else None,
    )


def borg_key_file(environment: Environment) -> "Path | None":
    """The key file of Borg's that the user names."""
    from pathlib import Path

    named = environment.plain(BORG + "KEY_FILE")
    return Path(named) if named else None


def borg_keys(environment: Environment) -> "Path":
    """Where Borg keeps its key files."""
    return _borg_place(environment, "KEYS_DIR", "keys")


def borg_security(environment: Environment) -> "Path":
    """Where Borg keeps what it has seen of repositories."""
    return _borg_place(environment, "SECURITY_DIR", "security")


def _borg_place(environment: Environment, variable: str, name: str) -> "Path":
    from pathlib import Path

    named = environment.plain(BORG + variable)
    if named:
        return Path(named)
    config = environment.plain(BORG + "CONFIG_DIR")
    if config:
        return Path(config) / name
    named = environment.plain(BORG + "BASE_DIR")  # Borg's own, though we may have another
    base = Path(named) if named else _base(environment)
    home = None if named or environment.get("BASE_DIR") else environment.plain("XDG_CONFIG_HOME")
    return Path(home or base / ".config") / "borg" / name


def _place(environment: Environment, ours: str, xdg: str, default: "Path") -> "Path":
    from pathlib import Path

    named = environment.get(ours)
    if named:
        return Path(named)
    # BASE_DIR moves everything below it, whatever XDG says
    home = None if environment.get("BASE_DIR") else environment.plain(xdg)
    return Path(home or default) / "strongroom"


def _base(environment: Environment) -> "Path":
    from pathlib import Path

    named = environment.get("BASE_DIR")
    if named:
        return Path(named)
    home = environment.plain("HOME")
    if home and os.geteuid() != 0 and Path(home) == _home_of(0):
        home = None  # `sudo -u`, mount helpers: HOME is still root's, who is somebody else
    return Path(home) if home else _home_of(os.geteuid()) or Path("~").expanduser()


def _home_of(uid: int) -> "Path | None":
    import pwd
    from pathlib import Path

    try:
        return Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        return None
