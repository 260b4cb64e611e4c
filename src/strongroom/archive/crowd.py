"""The files of a folder that has very many: kept by name alone, and asked for again by each pass.

What `stat` tells takes ten times the memory of a name, and a pass over 200,000 of them asks anew in
less than a second.
"""

import os
import stat
from collections.abc import Callable, Iterator

from strongroom.archive.notices import FileRaced

FROM = 16_384
"""Files of one folder from which on they are a crowd. Chosen: 10 MB of what `stat` tells."""


Child = tuple[bytes, os.stat_result]
"""Anything but a folder: its name, and how it looks. Plain, as there are so many."""


class Crowd:
    """In the order of names. A file that is gone, or is a folder by now, is told once and left out."""

    def __init__(
        self, names: list[bytes], folder: Callable[[], int], lost: Callable[[bytes, OSError], None]
    ) -> None:
        """`folder` opens it; should it fail, `lost` is told of no name, and the pass is empty."""
        self._names = names
        self._folder = folder
        self._lost = lost

    def leave_out(self, names: set[bytes]) -> None:
        self._names = [name for name in self._names if name not in names]

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Child]:
        gone: set[bytes] = set()
        try:
            fd = self._folder()
        except OSError as error:
            self._names = []
            self._lost(b"", error)
            return
        try:
            for name in self._names:
                try:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        raise FileRaced(None, "file type or inode changed (race condition)")
                except OSError as error:
                    gone.add(name)
                    self._lost(name, error)
                    continue
                yield name, status
        finally:
            os.close(fd)
            if gone:
                self._names = [name for name in self._names if name not in gone]
