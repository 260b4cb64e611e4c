"""Work in a forked child, for what would change the test's own process."""

import os
import sys
from collections.abc import Callable


def in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked child, whose limits and user it may change."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the child must not return into pytest
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
