"""Small files that several programs change: locked, replaced whole, never half written."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator

from strongroom.errors import CommandError
from strongroom.store.disk import sync_folder, write_synced


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Hold the folder's lock. Raises `CommandError` if the folder is not there."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"{folder} cannot be used: {error.strerror}.") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def read(path: str) -> bytes | None:
    """None if there is no such file. Raises `CommandError`."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error


def replace(path: str, data: bytes) -> None:
    """Write a file with mode 0600; a link is followed, the owner kept. Raises `CommandError`."""
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    scratch = os.path.join(folder, f".{os.path.basename(path)}.{secrets.token_hex(8)}")
    try:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                with contextlib.suppress(FileNotFoundError):
                    before = os.stat(path)
                    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                        os.fchown(fd, before.st_uid, before.st_gid)
                write_synced(fd, data)
            finally:
                os.close(fd)
            os.rename(scratch, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)
            raise
        sync_folder(folder)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
