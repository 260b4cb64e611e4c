"""Paths that become one where --strip-components cuts off what they differ in.

The later entry of the archive gets the path, as with Borg. What has it must be complete before it is
replaced, and no hard link may be made from what took the place of its first name.
"""


class Names:
    """The names of hard-linked files that have been restored."""

    def __init__(self, firsts: dict[bytes, bytes]) -> None:
        """`firsts` has of each group of names the path that further ones are made from; it is kept true."""
        self._firsts = firsts
        self._groups: dict[bytes, bytes] = {}  # of each path
        self._latest: dict[bytes, bytes] = {}  # path of each group that has more than one

    def group(self, path: bytes) -> bytes | None:
        return self._groups.get(path)

    def add(self, path: bytes, group: bytes) -> None:
        self._groups[path] = group
        if self._firsts.get(group, path) != path:
            self._latest[group] = path

    def remove(self, path: bytes) -> bytes | None:
        """Something else gets the path. If it was a first one: the one in its stead from now on, if any."""
        group = self._groups.pop(path, None)
        if group is None:
            return None
        if self._latest.get(group) == path:
            del self._latest[group]
        if self._firsts.get(group) != path:
            return None
        del self._firsts[group]
        other = self._latest.pop(group, None)
        if other is not None:
            self._firsts[group] = other
        return other


class Overlays:
    """What a restore is not done with, and the names of hard-linked files."""

    def __init__(self, firsts: dict[bytes, bytes]) -> None:
        self.names = Names(firsts)
        self._planned: set[bytes] = set()  # paths, and groups that get another name
        self._running: set[bytes] = set()

    def add(self, path: bytes, group: bytes | None = None) -> None:
        self._planned.add(path)
        if group is not None:
            self._planned.add(_mark(group))
            self.names.add(path, group)

    def turn(self) -> None:
        """What ran is complete, what was planned runs."""
        self._running, self._planned = self._planned, set()

    def under_way(self, path: bytes) -> bool:
        """Whether what has the path is not complete, or a name of the same file is not."""
        group = self.names.group(path)
        return self._holds(path) or (group is not None and self._holds(_mark(group)))

    def _holds(self, one: bytes) -> bool:
        return one in self._planned or one in self._running


def _mark(group: bytes) -> bytes:
    return b"/" + group  # no path begins so
