"""What `find` prints: for each path its versions, and the archives that hold them."""

import json
import os
import stat

from strongroom.cli.formats import Moment, archive_moment, format_size
from strongroom.cli.printable import printable, without_surrogates
from strongroom.commands.find import Found, Version
from strongroom.commands.infos import called
from strongroom.commands.results import ArchiveInfo


class FindFormatter:
    """`safe` escapes control characters, for a terminal."""

    def __init__(self, *, iec: bool = False, safe: bool = False) -> None:
        self._iec = iec
        self._text = printable if safe else without_surrogates

    def short(self, found: Found) -> str:
        return self._text(os.fsdecode(found.path)) + "\n"

    def text(self, found: Found) -> str:
        lines = [self.short(found)]
        lines += [self._version(version) for version in found.versions]
        return "".join(lines)

    def _version(self, version: Version) -> str:
        entry = version.entry
        size = format_size(entry.size, iec=self._iec) if entry.is_regular else ""
        names = self._text(called(version.first))
        if version.last is not version.first:
            names += f" .. {self._text(called(version.last))}"
        count = "1 archive" if version.archives == 1 else f"{version.archives} archives"
        gone = "" if version.gone is None else f", gone in {self._text(called(version.gone))}"
        moment = Moment.of_nanoseconds(entry.mtime)
        return (
            f"  {stat.filemode(entry.mode)} {size:>10}  {moment:%Y-%m-%d %H:%M:%S}  {names} ({count}{gone})\n"
        )

    def json_line(self, found: Found) -> str:
        record = {
            "path": without_surrogates(os.fsdecode(found.path)),
            "hostname": without_surrogates(found.host),
            "versions": [_version_record(version) for version in found.versions],
        }
        return json.dumps(record, sort_keys=True) + "\n"


def _version_record(version: Version) -> dict[str, object]:
    entry = version.entry
    target = None if entry.target is None else without_surrogates(os.fsdecode(entry.target))
    return {
        "type": stat.filemode(entry.mode)[0],
        "mode": stat.filemode(entry.mode),
        "user": without_surrogates(entry.user) if entry.user else entry.uid,
        "group": without_surrogates(entry.group) if entry.group else entry.gid,
        "size": entry.size,
        "mtime": Moment.of_nanoseconds(entry.mtime).iso(),
        "linktarget": target,
        "archives": version.archives,
        "first": _archive_record(version.first),
        "last": _archive_record(version.last),
        "gone": None if version.gone is None else _archive_record(version.gone),
    }


def _archive_record(info: ArchiveInfo) -> dict[str, object]:
    return {
        "name": without_surrogates(info.name or ""),
        "id": info.id.hex(),
        "start": archive_moment(info.start).iso(),
    }
