"""An object on its way into a folder: in the scratch folder until it is whole, then published."""

import contextlib
import errno
import fcntl
import os
from types import TracebackType
from typing import Self

from blake3 import blake3

from strongroom.errors import Damaged
from strongroom.store.direct import write_direct
from strongroom.store.disk import exists, make_folder, sync_folder, translate
from strongroom.store.names import SCRATCH
from strongroom.store.protocol import Buffer
from strongroom.store.publish import publish
from strongroom.store.stamp import unstamp

_PIECE = 1 << 20
_MAX_VECTORS = 512  # below every system's IOV_MAX


class Upload:
    """An object on its way: `write` its parts, then `commit`; leaving the `with` without that drops it.

    Without a name until `call`.
    """

    def __init__(self, root: str, name: str = "") -> None:
        """`root` is the repository's folder. Raises `StoreError`."""
        self._root = root
        self._scratch = os.path.join(root, SCRATCH)
        self.call(name)
        self._path = os.path.join(self._scratch, os.urandom(16).hex())
        self._fd = -1
        self.size = 0  # bytes written so far
        self.replaced: int | None = None  # bytes of a damaged object whose place it took
        try:
            self._fd = self._open()
        except OSError as error:
            raise translate(error, self._path, "writing") from error

    def call(self, name: str) -> None:
        self._name = name
        self._target = os.path.join(self._root, name)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            # Only the scratch folder is made here: a repository that vanished must not come back empty.
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._scratch, 0o700)
            return os.open(self._path, flags, 0o600)

    def write(self, *parts: Buffer) -> None:
        """Append the parts. Raises `StoreFull`, `StoreRefused`, `StoreFailed`."""
        views = [memoryview(part).cast("B") for part in parts if len(part)]
        try:
            if views and (written := write_direct(self._fd, views[0], self.size)):
                self.size += written
                views[0] = views[0][written:]
            while views:
                written = os.writev(self._fd, views[:_MAX_VECTORS])
                self.size += written
                done = 0
                while done < len(views) and written >= len(views[done]):
                    written -= len(views[done])
                    done += 1
                del views[:done]
                if views and written:
                    views[0] = views[0][written:]
        except OSError as error:
            raise translate(error, self._target, "writing") from error

    def commit(self) -> None:
        """Make the object durable under its name. Raises `ObjectExists`, `StoreError`."""
        self.sync()
        self.publish()

    def sync(self) -> None:
        """The first half of `commit`, and the slow one: nothing can be written any more."""
        try:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
        except OSError as error:
            raise translate(error, self._target, "writing") from error

    def publish(self) -> None:
        """The second half of `commit`."""
        folder = os.path.dirname(self._target)
        try:
            lock = os.path.join(self._scratch, "publish-lock")
            try:
                publish(self._path, self._target, lock)
            except FileNotFoundError:
                make_folder(folder, mode=0o700, top=self._root)
                publish(self._path, self._target, lock)
            self._path = ""
            sync_folder(folder)
        except FileExistsError:
            raise exists(self._name, self._target) from None
        except OSError as error:
            raise translate(error, self._target, "writing") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()

    def drop(self) -> None:
        """Nothing is left of it, unless it was published."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


class Mending(Upload):
    """An object that takes the place of a damaged one. Its bytes must be checked before `publish`."""

    def publish(self) -> None:
        """Raises `ObjectExists` if what is there is what its name says."""
        try:
            self.replaced = self._damaged_size()
            make_folder(os.path.dirname(self._target), mode=0o700, top=self._root)
            os.replace(self._path, self._target)
            self._path = ""
            sync_folder(os.path.dirname(self._target))
        except OSError as error:
            raise translate(error, self._target, "writing") from error

    def _damaged_size(self) -> int | None:
        """Bytes of what is there, None if nothing is. Raises `ObjectExists`, OSError."""
        try:
            size = os.stat(self._target).st_size
            hasher = blake3()
            with open(self._target, "rb", buffering=0) as stream:
                while data := stream.read(_PIECE):
                    hasher.update(data)
        except FileNotFoundError:
            return None
        except OSError as error:  # sectors that cannot be read
            if error.errno != errno.EIO:
                raise
            return size
        if hasher.hexdigest() == self._name.rpartition("/")[2]:
            raise exists(self._name, self._target)
        return size


class MendingRecord(Mending):
    """A log record that takes the place of a damaged one. That it belongs there must be known before."""

    def publish(self) -> None:
        # two may do this at once, and no sound record may ever be replaced
        try:
            folder = os.open(self._scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                super().publish()
            finally:
                os.close(folder)
        except OSError as error:
            raise translate(error, self._target, "writing") from error

    def _damaged_size(self) -> int | None:
        try:
            with open(self._target, "rb", buffering=0) as stream:
                stored = stream.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return os.stat(self._target).st_size
        try:
            unstamp(stored)
        except Damaged:
            return len(stored)
        raise exists(self._name, self._target)
