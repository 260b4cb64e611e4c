"""What keeps the suite short: how many examples a test plays, and repositories that cost little.

`STRONGROOM_EXAMPLES=20 ./test` plays twenty times as many examples and steps as each run of CI does.
"""

import os

from strongroom.crypto import keyformat
from strongroom.store import reserve

_TIMES = int(os.environ.get("STRONGROOM_EXAMPLES", "1"))


def times(count: int) -> int:
    return count * _TIMES


def make_repositories_cheap() -> None:
    """New keys are wrapped cheaply, and little space is kept that only tests of full disks need.

    How dear a key is to try stands in it; crypto/test_keys.py looks at what a user gets.
    """
    keyformat.ARGON2_MEMORY, keyformat.ARGON2_PASSES = 8 * keyformat.ARGON2_LANES, 1
    reserve.DEFAULT = reserve.LEAST = 64 << 10
