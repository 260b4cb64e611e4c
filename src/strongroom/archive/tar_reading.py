"""Members of a tar archive as entries: what `tar_writing` and other programs write.

The archive comes from anywhere: paths are made relative, sizes are bounded, and what no file can be is
refused by the caller's check of the entry.
"""

import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import BinaryIO, Self, cast

from strongroom.archive.borg_item import BORG_ITEM, BorgItem, decode_item
from strongroom.archive.entries import Entry
from strongroom.archive.platform import xattrs
from strongroom.archive.platform.acls import acl_from_text, is_mode_alone
from strongroom.archive.platform.owners import Owners
from strongroom.archive.tar_writing import XATTR
from strongroom.errors import AclInvalid, CommandError
from strongroom.malformed import MALFORMED

_MAX_HEADER = 64 * 1024 * 1024  # bytes of an extended header
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_KINDS = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
}


class _Ended(Exception):
    """Where the tar archive ends, or breaks off: tarfile tells its callers of neither."""


class TarReader:
    """The members in their order; content is to be read before the next one is asked for."""

    def __init__(self, stream: BinaryIO, *, ignore_zeros: bool) -> None:
        """Raises `CommandError` for what is no tar archive."""
        self._end: tarfile.TarError | None = None
        reader = self

        class Member(tarfile.TarInfo):
            @classmethod
            def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
                try:
                    return super().fromtarfile(archive)
                except tarfile.HeaderError as error:
                    reader._end = error
                    raise

            def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
                if self.type in _EXTENDED and self.size > _MAX_HEADER:
                    raise tarfile.ReadError("a header is larger than any can be")
                return cast("tarfile.TarInfo", super()._proc_member(archive))  # type: ignore[misc]

        self._ignore_zeros = ignore_zeros
        try:
            self._tar = tarfile.open(  # noqa: SIM115  # the stream is the caller's to close
                fileobj=stream, mode="r|", tarinfo=Member, ignore_zeros=ignore_zeros,
                encoding="utf-8", errors="surrogateescape",
            )  # fmt: skip
        except tarfile.TarError as error:
            raise CommandError(f"This is no tar archive, or it is compressed: {error}.") from error

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Raises `CommandError` where the archive breaks off or is damaged."""
        while True:
            try:
                member = self._tar.next()
            except (tarfile.TarError, *MALFORMED, OverflowError) as error:
                raise CommandError(f"The tar archive is damaged: {error}. Nothing was archived.") from error
            if member is None:
                break
            self._tar.members = []  # type: ignore[attr-defined]  # it would keep them all
            yield member
        ended = isinstance(self._end, tarfile.EOFHeaderError | tarfile.EmptyHeaderError)  # type: ignore[attr-defined]
        if not ended and not self._ignore_zeros:
            raise CommandError(f"The tar archive breaks off: {self._end}. Nothing was archived.")

    @property
    def has_end_mark(self) -> bool:
        return self._ignore_zeros or isinstance(self._end, tarfile.EOFHeaderError)  # type: ignore[attr-defined]

    def content(self, member: tarfile.TarInfo) -> BinaryIO:
        found = self._tar.extractfile(member)
        if found is None:
            raise CommandError(f"{member.name}: the tar archive has no content for it.")
        # unbuffered: a sparse member's holes are passed by, for which a buffer asks more than a pipe can
        return cast("BinaryIO", found.raw)  # type: ignore[attr-defined]


def path_of(member: tarfile.TarInfo) -> list[bytes]:
    """The components of the path in an archive: no leading slash, no `..`; none for the top itself."""
    return parts_of(member.name)


def parts_of(name: str) -> list[bytes]:
    path = os.path.normpath(os.fsencode(name))
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    while parts and parts[0] == b"..":
        parts.pop(0)
    return parts


class EntryMaker:
    """From headers to entries without content. What cannot be taken over is a sentence in `problems`."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._owners = Owners()

    def entry(self, name: bytes, member: tarfile.TarInfo) -> Entry:
        """Raises `ValueError` for a header that says impossible things."""
        headers = member.pax_headers
        kind = _KINDS.get(member.type, stat.S_IFREG)
        entry = Entry(
            name,
            kind | stat.S_IMODE(member.mode),
            member.uid,
            member.gid,
            member.uname or None,
            member.gname or None,
            _time(headers["mtime"]) if "mtime" in headers else int(member.mtime) * 1_000_000_000,
            0,
            b"",
            ctime=_time_if_any(headers.get("ctime")),
            atime=_time_if_any(headers.get("atime")),
            birthtime=_time_if_any(headers.get("LIBARCHIVE.creationtime")),
        )
        if kind == stat.S_IFLNK:
            entry.target = os.fsencode(member.linkname)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            entry.rdev = os.makedev(member.devmajor, member.devminor)
        if headers:
            self._extend(entry, headers)
        return entry

    def _extend(self, entry: Entry, headers: Mapping[str, str]) -> None:
        item = self._item(headers)
        values = {name: value for name, value in (item.xattrs or {}).items() if value is not None}
        for key, value in headers.items():
            name = _bytes(key)
            if name.startswith(XATTR):
                name = name.removeprefix(XATTR).replace(b"%3D", b"=").replace(b"%25", b"%")
                values[name] = _bytes(value)
        for listed in (xattrs.ACL_ACCESS, xattrs.ACL_DEFAULT):
            values.pop(listed, None)  # the lists have keys of their own
        entry.xattrs = values or None
        access = self._acl(headers.get("SCHILY.acl.access"), item.acl_access)
        entry.acl_access = None if access is not None and is_mode_alone(access) else access
        entry.acl_default = self._acl(headers.get("SCHILY.acl.default"), item.acl_default)
        flags = int(headers["STRONGROOM.flags"]) if "STRONGROOM.flags" in headers else item.flags
        entry.flags = flags or None
        for which, time in item.times().items():  # Borg's headers round them
            setattr(entry, which, time)

    def _item(self, headers: Mapping[str, str]) -> BorgItem:
        if BORG_ITEM not in headers:
            return BorgItem()
        try:
            return decode_item(headers[BORG_ITEM])
        except ValueError as error:
            self.problems.append(f"Borg's description of it cannot be read ({error})")
            return BorgItem()

    def _acl(self, text: str | None, stored: bytes | None) -> bytes | None:
        found = stored if text is None else _bytes(text)
        if found is None:
            return None
        try:
            acl_from_text(found, self._owners, numeric_ids=False)
        except AclInvalid as error:
            self.problems.append(str(error).rstrip("."))
            return None
        return found


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _time_if_any(text: str | None) -> int | None:
    return None if text is None else _time(text)


def _time(text: str) -> int:
    """Nanoseconds, from a decimal number of seconds, without a loss."""
    try:
        return int(Decimal(text).scaleb(9).to_integral_value(rounding="ROUND_FLOOR"))
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no time") from error
