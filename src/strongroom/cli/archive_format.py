"""The lines of `list REPOSITORY`: one for each archive."""

from typing import TYPE_CHECKING

from strongroom.cli.formats import CONSTANTS, Moment, Template, archive_moment, template_for_json
from strongroom.cli.printable import printable, without_surrogates

if TYPE_CHECKING:
    from strongroom.commands.results import ArchiveInfo

DEFAULT = "{archive:<36} {time} [{id}]{NL}"
DELETED = "{archive:<36} {time} [{id}] deleted {deleted} by {deleted_by}{NL}"
ASKED = "{archive:<36} {time} [{id}] deletion asked for by {requested_by} on {requested}{NL}"
SHORT = "{archive}{NL}"

KEYS: dict[str, str] = {
    "archive": "archive name as text (undecodable bytes as ?, see barchive)",
    "name": 'the same as "archive"',
    "barchive": "archive name verbatim",
    "comment": "comment of the archive as text",
    "bcomment": "comment of the archive verbatim",
    "id": "internal ID of the archive",
    "tam": '"verified": every archive is part of the signed log',
    "start": "time when the archive was begun",
    "time": 'the same as "start"',
    "end": "time when the archive was finished",
    "command_line": "command line that created the archive",
    "hostname": "host that the archive was created on",
    "username": "user who created the archive",
    "key": "name of the key that wrote the archive",
    "nfiles": "number of files",
    "size": "size of all files in bytes",
    "deleted": "time when it was deleted, with --deleted",
    "deleted_by": "name of the key that deleted it, with --deleted",
    "requested": "time when a backup key asked for its deletion",
    "requested_by": "name of the backup key that asked for its deletion",
    "distrusted": "why it is not to be trusted, after a key revoke --since; else empty",
}

_ALWAYS = ("archive", "barchive", "id", "name", "start", "time")  # in Borg's JSON


class ArchiveFormatter:
    """`safe` escapes control characters in names and comments, for a terminal."""

    def __init__(
        self, text: str | None, *, short: bool = False, safe: bool = False, as_json: bool = False
    ) -> None:
        self._safe = safe
        make = template_for_json if as_json else Template
        self._template = make(text if text is not None else SHORT if short else DEFAULT, KEYS)
        self._marks = text in (None, DELETED) and not short
        self._asked = Template(ASKED, KEYS) if text is None and not short else self._template

    def line(self, info: "ArchiveInfo") -> str:
        template = self._template if info.requested is None else self._asked
        values = {key: _value(key, info) for key in template.used}
        if self._safe:
            values = {k: printable(value) if isinstance(value, str) else value for k, value in values.items()}
        line = template.fill(values)
        if self._marks and info.distrust is not None:
            return f"{line.removesuffix(CONSTANTS['NL'])} {distrust_words(info)}{CONSTANTS['NL']}"
        return line

    def record(self, info: "ArchiveInfo") -> dict[str, object]:
        """For `--json`: Borg's keys, and those that the format names."""
        keys = self._template.used.intersection(KEYS).union(_ALWAYS)
        if info.distrust is not None:
            keys |= {"distrusted"}
        return {key: _plain(key, info) for key in sorted(keys)}


def distrust_words(info: "ArchiveInfo") -> str:
    """Why it is not to be trusted; empty if it is."""
    if info.distrust is None:
        return ""
    reasons = []
    if info.distrust.written_by is not None:
        reasons.append(f"written by the revoked key {info.distrust.written_by}")
    if info.distrust.uses:
        reasons.append(f"{info.distrust.uses} chunks rest on a revoked key's word alone")
    return f"DISTRUSTED: {', '.join(reasons)}"


def archive_line(info: "ArchiveInfo") -> str:
    """As `delete --list` and `prune --list` show an archive."""
    return Template(DEFAULT.removesuffix("{NL}"), KEYS).fill(
        {key: _value(key, info) for key in ("archive", "time", "id")}
    )


def _value(key: str, info: "ArchiveInfo") -> object:
    match key:
        case "archive" | "name":
            return without_surrogates(_name(info))
        case "barchive":
            return _name(info)
        case "comment":
            return without_surrogates(info.comment)
        case "bcomment":
            return info.comment
        case "id":
            return info.id.hex()
        case "tam":
            return "verified"
        case "start" | "time":
            return archive_moment(info.start)
        case "end":
            return archive_moment(info.end)
        case "command_line":
            import shlex

            return without_surrogates(shlex.join(info.command_line))
        case "hostname":
            return without_surrogates(info.hostname)
        case "username":
            return without_surrogates(info.username)
        case "key":
            return info.written_by
        case "nfiles":
            return info.stats.files
        case "size":
            return info.stats.original
        case "deleted":
            return archive_moment(info.deleted) if info.deleted is not None else ""
        case "deleted_by":
            return info.deleted_by
        case "requested":
            return archive_moment(info.requested) if info.requested is not None else ""
        case "distrusted":
            return distrust_words(info)
        case "requested_by":
            return info.requested_by
    return ""  # a constant: Template knows it


def _plain(key: str, info: "ArchiveInfo") -> object:
    if key == "command_line":
        return [without_surrogates(word) for word in info.command_line]
    value = _value(key, info)
    if isinstance(value, Moment):
        return value.iso()
    return without_surrogates(value) if isinstance(value, str) else value


def _name(info: "ArchiveInfo") -> str:
    # a backup key cannot read names
    if info.name is not None:
        return info.name
    return f"({'sealed' if info.problem is None else 'damaged'} {info.id.hex()[:8]})"
