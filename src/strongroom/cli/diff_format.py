"""The lines of `diff` and `compare`: one for each path, in Borg's shapes."""

import os
import stat

from strongroom.archive.changes import (
    Appeared,
    AttributesChanged,
    Change,
    ModeChanged,
    OwnerChanged,
    Redirected,
    Retargeted,
    TimeChanged,
    Vanished,
)
from strongroom.archive.same_content import Modified
from strongroom.cli.formats import Moment, Template, format_size
from strongroom.cli.printable import printable, without_surrogates
from strongroom.commands.diff import Difference

KEYS: dict[str, str] = {
    "path": "path as text (undecodable bytes as ?, see bpath)",
    "bpath": "path verbatim: any byte but NUL",
    "change": "all changes, as in the default output",
    "content": "file added or removed, or its content changed, with sizes",
    "link": "link added, removed or changed",
    "directory": "folder added or removed",
    "blkdev": "block device added, removed or changed",
    "chrdev": "character device added, removed or changed",
    "fifo": "FIFO added or removed",
    "type": "another type of file stands there now",
    "mode": "type and permissions changed",
    "owner": "user or group changed",
    "user": "user changed",
    "group": "group changed",
    "ctime": "ctime changed",
    "mtime": "mtime changed",
    "isoctime": "the same in ISO 8601 format",
    "isomtime": "the same in ISO 8601 format",
    "xattrs": "extended attributes that came, went or changed",
    "acl": "access control list changed",
    "flags": "file flags changed",
    "size_added": "bytes that only the new content has",
    "size_removed": "bytes that only the old content has",
}


class DiffFormatter:
    """`safe` escapes control characters, for a terminal."""

    def __init__(self, text: str | None, *, iec: bool = False, safe: bool = False) -> None:
        self._template = None if text is None else Template(text, KEYS)
        self._iec = iec
        self._text = printable if safe else without_surrogates

    def line(self, found: Difference) -> str:
        path = os.fsdecode(found.pair.path)
        words = [(change, self.words(change)) for change in found.changes]
        joined = " ".join(text for _, text in words)
        if self._template is None:
            return f"{joined:<19} {self._text(path)}\n"
        values: dict[str, object] = dict.fromkeys(KEYS, "")
        values |= {
            "path": self._text(path),
            "bpath": printable(path) if self._text is printable else path,
            "change": joined,
            "size_added": found.added,
            "size_removed": found.removed,
        }
        for change, text in words:
            values |= self._values(change, text)
        return self._template.fill(values)

    def json_line(self, found: Difference) -> str:
        path = without_surrogates(os.fsdecode(found.pair.path))
        changes = [record(change) for change in found.changes]
        import json

        return json.dumps({"path": path, "changes": changes}, sort_keys=True) + "\n"

    def words(self, change: Change) -> str:
        """One change, as Borg puts it; what Borg does not tell stands in brackets too."""
        match change:
            case Appeared("file", size):
                return f"added {format_size(size, iec=self._iec):>13}"
            case Vanished("file", size):
                return f"removed {format_size(size, iec=self._iec):>11}"
            case Appeared(kind):
                return f"added {kind}"
            case Vanished(kind):
                return f"removed {kind}"
            case Modified(int(added), int(removed)):
                return f"{self._signed(added):>9} {self._signed(-removed):>9}"
            case Modified():
                return "modified"
            case Retargeted():
                return "changed link"
            case Redirected(old, new):
                return f"[device {os.major(old)}:{os.minor(old)} -> {os.major(new)}:{os.minor(new)}]"
            case OwnerChanged():
                before = f"{self._name(change.old_user)}:{self._name(change.old_group)}"
                return f"[{before} -> {self._name(change.new_user)}:{self._name(change.new_group)}]"
            case ModeChanged(old, new):
                return f"[{stat.filemode(old)} -> {stat.filemode(new)}]"
            case TimeChanged(which, old, new):
                return f"[{which}: {Moment.of_nanoseconds(old)} -> {Moment.of_nanoseconds(new)}]"
            case AttributesChanged(which, names):
                shown = " ".join(self._text(os.fsdecode(name)) for name in names)
                return f"[{which}: {shown}]" if names else f"[{which}]"

    def _signed(self, size: int) -> str:
        return format_size(size, iec=self._iec, precision=1, sign=True)

    def _name(self, owner: str | int) -> str:
        return self._text(str(owner))

    def _values(self, change: Change, text: str) -> dict[str, object]:
        match change:
            case Appeared(kind) | Vanished(kind):
                return {"content" if kind == "file" else kind: text}
            case Modified():
                return {"content": text}
            case Retargeted():
                return {"link": text}
            case Redirected():
                return {"blkdev": text, "chrdev": text}
            case OwnerChanged():
                users = (self._name(change.old_user), self._name(change.new_user))
                groups = (self._name(change.old_group), self._name(change.new_group))
                return {"owner": text, "user": _arrow(*users), "group": _arrow(*groups)}
            case ModeChanged(old, new):
                kinds = stat.filemode(old)[0], stat.filemode(new)[0]
                return {"mode": text, "type": _arrow(*kinds)}
            case TimeChanged(which, old, new):
                moments = Moment.of_nanoseconds(old), Moment.of_nanoseconds(new)
                return {which: text, f"iso{which}": f"[{which}: {moments[0].iso()} -> {moments[1].iso()}]"}
            case AttributesChanged(which):
                return {which: text}


def _arrow(old: str, new: str) -> str:
    return "" if old == new else f"[{old} -> {new}]"


def record(change: Change) -> dict[str, object]:
    """The same for JSON."""
    match change:
        case Appeared("file", size):
            return {"type": "added", "size": size}
        case Vanished("file", size):
            return {"type": "removed", "size": size}
        case Appeared(kind):
            return {"type": f"added {kind}"}
        case Vanished(kind):
            return {"type": f"removed {kind}"}
        case Modified(None, None):
            return {"type": "modified"}
        case Modified(added, removed):
            return {"type": "modified", "added": added, "removed": removed}
        case Retargeted():
            return {"type": "changed link"}
        case Redirected(old, new):
            return {"type": "device", "old_device": old, "new_device": new}
        case OwnerChanged():
            return {
                "type": "owner",
                "old_user": _plain(change.old_user),
                "old_group": _plain(change.old_group),
                "new_user": _plain(change.new_user),
                "new_group": _plain(change.new_group),
            }
        case ModeChanged(old, new):
            return {"type": "mode", "old_mode": stat.filemode(old), "new_mode": stat.filemode(new)}
        case TimeChanged(which, old, new):
            return {
                "type": which,
                f"old_{which}": Moment.of_nanoseconds(old).iso(),
                f"new_{which}": Moment.of_nanoseconds(new).iso(),
            }
        case AttributesChanged(which, names):
            return {"type": which, "names": [without_surrogates(os.fsdecode(name)) for name in names]}


def _plain(owner: str | int) -> str | int:
    return without_surrogates(owner) if isinstance(owner, str) else owner
