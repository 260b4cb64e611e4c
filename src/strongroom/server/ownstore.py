"""A client's repository as the server's owner writes to it: counted, like all else, while clients write too.

The owner is not held to the quota. When it is full, the room for what `compact` moves must come from
somewhere, and what it frees is worth more.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from strongroom.server.quota import Quota, quota_of
from strongroom.store.local import LocalStore
from strongroom.store.names import QUOTA
from strongroom.store.upload import Upload


class OwnStore(LocalStore):
    """The `Store` of a folder inside of one or more that are counted. `close` it."""

    def __init__(
        self, path: str, counted: Iterable[str] = (), clock: Callable[[], int] = time.time_ns
    ) -> None:
        """`counted` are the folders, outermost first: sessions of clients take the locks in that order."""
        super().__init__(path, clock)
        self._quotas = [quota_of(self, folder, sys.maxsize) for folder in counted]

    def _commit(self, upload: Upload) -> None:
        upload.sync()
        with self._each(lambda quota: quota.adding(upload.size, lambda: upload.replaced)):
            upload.publish()

    def delete(self, name: str) -> None:
        size = self.size(name)
        with self._each(lambda quota: quota.freeing(size)):
            super().delete(name)

    def close(self) -> None:
        for quota in self._quotas:
            quota.close()

    @contextlib.contextmanager
    def _each(self, count: Callable[[Quota], AbstractContextManager[None]]) -> Iterator[None]:
        with contextlib.ExitStack() as counting:
            for quota in self._quotas:
                counting.enter_context(count(quota))
            yield


def counted_folders(home: str, path: str) -> list[str]:
    """The folders whose contents sessions may be counting, or may begin to: outermost first.

    `home` is the client's, `path` the repository's, the same or one below.
    """
    chain = [path]
    while chain[0] != home:
        chain.insert(0, os.path.dirname(chain[0]))
    return [one for one in chain if one in (home, path) or os.path.isdir(os.path.join(one, QUOTA))]
