"""Show archives as folders: mount them, and take the mount away."""

import contextlib
import ctypes
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.archive.patterns import PatternMatcher
from strongroom.commands.allocating import give_freed_memory_back
from strongroom.commands.browsing import browse_archive, browse_repository, browse_versions
from strongroom.commands.listing import ArchiveFilter
from strongroom.errors import CommandError, MountFailed
from strongroom.reporting import Reporter
from strongroom.repository.repository import Repository
from strongroom.repository.shared_reading import SharedChunks

if TYPE_CHECKING:
    from strongroom.archive.browsing import Browser

KIND = "strongroom"
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PASSED_ON = re.compile(r"[a-z][a-z0-9_-]*(=[\w./:+-]+)?")
_MOUNTS = Path("/proc/self/mountinfo")


class MountOptions(msgspec.Struct, frozen=True):
    """The words after -o. `passed_on` go to libfuse as they are."""

    uid: int | None = None
    gid: int | None = None
    umask: int = 0
    versions: bool = False
    ignore_permissions: bool = False
    passed_on: dict[str, str | bool] = {}


def parse_options(words: Iterable[str]) -> MountOptions:
    """Raises `CommandError`. Set-id bits and device nodes of a backup count for nothing, unless asked for."""
    numbers: dict[str, int] = {}
    flags = dict.fromkeys(("versions", "ignore_permissions"), False)
    passed_on: dict[str, str | bool] = {}
    suid, dev = "nosuid", "nodev"
    for word in (word for text in words for word in text.split(",") if word):
        name, _, value = word.partition("=")
        if name in ("uid", "gid", "umask"):
            numbers[name] = _number(word, value, 8 if name == "umask" else 10)
        elif word in flags:
            flags[word] = True
        elif word == "allow_damaged_files":
            continue  # Borg's; here what is sound of a file can be read in any case
        elif word == "suid":
            suid = "suid"
        elif word == "dev":
            dev = "dev"
        elif word == "rw":
            raise CommandError("-o rw: archives are never changed, a mount is read-only.")
        elif not _PASSED_ON.fullmatch(word):
            raise CommandError(f"-o {word!r} is no mount option.")
        elif word not in ("ro", "nosuid", "nodev"):
            passed_on[name] = value or True
    return MountOptions(
        numbers.get("uid"),
        numbers.get("gid"),
        numbers.get("umask", 0),
        flags["versions"],
        flags["ignore_permissions"],
        passed_on | {"ro": True, suid: True, dev: True},
    )


def _number(word: str, value: str, base: int) -> int:
    try:
        number = int(value, base)
    except ValueError:
        number = -1
    if not 0 <= number < (0o10000 if base == 8 else (1 << 32) - 1):
        raise CommandError(f"-o {word}: a number is expected.")
    return number


def check_mountpoint(path: str) -> str:
    """The absolute path. Raises `MountFailed`; a mount whose program died is told as such."""
    place = os.path.abspath(path)
    if is_mounted(place) or is_mounted(os.path.realpath(place)):
        raise MountFailed(f"{path}: an archive is mounted there already; `strongroom umount` takes it away.")
    if not os.path.isdir(place):
        raise MountFailed(f"{path}: the mount point must be an existing folder.")
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        raise MountFailed(f"{path}: the mount point must be a folder that you may write to.")
    return place


def mount(
    repository: Repository,
    archive: str | None,
    wanted: ArchiveFilter,
    matcher: PatternMatcher,
    strip: int,
    mountpoint: str,
    options: MountOptions,
    reporter: Reporter,
    mounted: Callable[[], None],
    *,
    numeric_ids: bool = False,
) -> None:
    """Serves until unmounted, or until SIGINT, SIGTERM or SIGHUP. Main thread only.

    `mounted` is called, in some thread, once it works. Raises `MountFailed`, `ArchiveMissing`,
    `RoleInsufficient`, and the store's errors.
    """
    fuse = load_fuse()
    give_freed_memory_back()
    repository.load_index()
    works: list[bool] = []
    # the file system answers only when `note` returns, and the kernel forgets what was set before
    beside = threading.Thread(target=_read_ahead, args=(os.path.realpath(mountpoint),))

    def note() -> None:
        works.append(True)
        mounted()
        beside.start()

    with SharedChunks(repository) as chunks:
        browser: Browser
        if archive is not None:
            browser = browse_archive(repository, chunks, archive, matcher, strip, reporter)
        else:
            browse = browse_versions if options.versions else browse_repository
            browser = browse(repository, chunks, wanted, matcher, strip, reporter)
        look = fuse.Appearance(
            options.uid, options.gid, options.umask, numeric_ids, options.ignore_permissions
        )
        operations = fuse.ArchiveOperations(browser, chunks, look, reporter, note)
        words = {"subtype": KIND, **options.passed_on}
        if not options.ignore_permissions:
            words["default_permissions"] = True
        before = {number: _leave_to_libfuse(number) for number in _ENDING}
        try:
            code = fuse.run(operations, mountpoint, words)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if works:
                beside.join()
    if code and not works:  # once it worked, libfuse's code only tells that a signal ended it
        raise MountFailed(f"{mountpoint}: libfuse could not mount (its code is {code}); its reason is above.")


def _read_ahead(mountpoint: str) -> None:
    """Let the kernel ask for 1 MiB at a time, not for 128 KiB: large files take half the time. Root only."""
    device = _mounted_device(mountpoint)
    with contextlib.suppress(OSError):
        os.stat(mountpoint)  # it answers
    with contextlib.suppress(OSError), open(f"/sys/class/bdi/{device}/read_ahead_kb", "w") as stream:
        stream.write("1024")


def _leave_to_libfuse(number: int) -> "signal._HANDLER":
    """It takes a signal only if nobody else does; one that is ignored stays so."""
    before = signal.getsignal(number)
    if before is not signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
    return before


def choose_libfuse() -> None:
    """mfusepy itself would search longer, and take libfuse 2, which knows neither holes nor access lists."""
    if {"FUSE_LIBRARY_PATH", "FUSE_LIBRARY_NAME"} & os.environ.keys():
        return
    for name in ("libfuse3.so.4", "libfuse3.so.3", "libfuse.so.2"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            os.environ["FUSE_LIBRARY_PATH"] = name
            return


class _Postponed(ModuleType):
    """Stands for a module that is loaded when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextlib.contextmanager
def _postponed(*names: str) -> Iterator[None]:
    """What is imported meanwhile gets these modules when it uses them: mfusepy and ctypes.util hardly do."""
    instead = {name: _Postponed(name) for name in names if name not in sys.modules}
    sys.modules.update(instead)
    try:
        yield
    finally:
        for name, module in instead.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def load_fuse() -> Any:
    """The module. Raises `MountFailed` where FUSE is not installed."""
    choose_libfuse()
    try:
        with _postponed("inspect", "shutil", "subprocess", "tempfile"):
            from strongroom.commands import fuse
    except ImportError:
        raise MountFailed(
            "mount needs mfusepy, which is not installed: run `pip install 'strongroom[mount]'`."
        ) from None
    except OSError as error:
        raise MountFailed(
            f"mount needs libfuse, which is not installed ({error}); on Debian: `apt install fuse3`."
        ) from None
    return fuse


# --- and away with it ---


def unmount(path: str) -> None:
    """Take a mount away that was made by `mount`. Raises `MountFailed`."""
    import shutil
    import subprocess

    place = os.path.abspath(path)
    if _MOUNTS.exists() and not is_mounted(place):
        place = os.path.realpath(path)
        if not is_mounted(place):
            raise MountFailed(f"{path}: no strongroom archive is mounted there.")
    tried = []
    for words in (("fusermount3", "-u"), ("fusermount", "-u"), ("umount",)):
        program = shutil.which(words[0], path=os.environ.get("PATH", "") + ":/bin:/sbin:/usr/sbin")
        if program is None:
            continue
        done = subprocess.run(
            [program, *words[1:], "--", place], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
        if not done.returncode:
            return
        tried.append(done.stderr.decode(errors="replace").strip())
    raise MountFailed(
        f"{path} cannot be unmounted: {tried[0]}."
        if tried
        else f"{path} cannot be unmounted: neither fusermount3 nor umount is installed."
    )


def is_mounted(place: str) -> bool:
    """Whether the kernel has a mount of ours at an absolute path, working or not; never touches it."""
    return _mounted_device(place) is not None


def _mounted_device(place: str) -> str | None:
    """Its number, as MAJOR:MINOR."""
    try:
        table = _MOUNTS.read_bytes()
    except OSError:
        return None
    for line in table.splitlines():
        left, _, right = line.partition(b" - ")
        if right.split(b" ")[0] == f"fuse.{KIND}".encode():
            words = left.split(b" ")
            found = re.sub(rb"\\([0-7]{3})", lambda code: bytes((int(code[1], 8),)), words[4])
            if found == os.fsencode(place):
                return words[2].decode("ascii")
    return None
