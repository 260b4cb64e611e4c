"""Holding an upload to a rate."""

import time


class Pacer:
    """Lets `rate` bytes a second pass, 0 for no limit; what was not used in the past second is lost."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._free_at = 0.0

    def wait(self, size: int) -> None:
        """Return when `size` bytes may be sent. For one thread."""
        if not self._rate:
            return
        now = time.monotonic()
        delay = self._free_at - now
        if delay > 0:
            time.sleep(delay)
        self._free_at = max(self._free_at, now - 1.0) + size / self._rate
