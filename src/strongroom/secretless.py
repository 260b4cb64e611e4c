"""The environment for the programs that we start: as ours, without what opens keys."""

import os

_SECRETS = ("PASSPHRASE", "NEW_PASSPHRASE")


def secretless_environment() -> dict[str, str]:
    """For ssh, and for commands that the user names: a passphrase is none of theirs."""
    secrets = {prefix + name for prefix in ("STRONGROOM_", "BORG_") for name in _SECRETS}
    return {name: value for name, value in os.environ.items() if name not in secrets}
