"""The blocks of `info`, `create --stats` and `delete --stats`, as text and as JSON, in Borg's shapes."""

from datetime import timedelta
from typing import TYPE_CHECKING

from strongroom.cli.archive_format import distrust_words
from strongroom.cli.formats import archive_moment, format_duration, format_size
from strongroom.cli.printable import printable, without_surrogates
from strongroom.reporting import counted

if TYPE_CHECKING:
    from strongroom.commands.results import ArchiveInfo, DeletedSizes, RepositoryInfo, RepositoryTotals, Stats

RULE = "-" * 78
HEADER = "                       Original size      Compressed size    Deduplicated size"


def _row(label: str, sizes: tuple[int | None, int | None, int | None], *, iec: bool) -> str:
    words = ["unknown" if size is None else format_size(size, iec=iec) for size in sizes]
    return f"{label:15} {words[0]:>20} {words[1]:>20} {words[2]:>20}"


def stats_row(label: str, stats: "Stats", *, iec: bool) -> str:
    return _row(label, (stats.original, stats.compressed, stats.deduplicated), iec=iec)


def totals_lines(totals: "RepositoryTotals", *, iec: bool) -> list[str]:
    sizes = (totals.original, totals.compressed, totals.deduplicated)
    return [
        _row("All archives:", sizes, iec=iec),
        "",
        "                       Unique chunks         Total chunks",
        f"Chunk index:    {totals.unique_chunks:20d} {totals.total_chunks:20d}",
    ]


def deleted_lines(gone: "DeletedSizes", totals: "RepositoryTotals | None", *, iec: bool) -> list[str]:
    """What `delete --stats` and `prune --stats` show; without `totals`, what `--quick-stats` shows."""
    original = None if gone.original is None else -gone.original
    return [
        RULE,
        HEADER,
        _row("Deleted data:", (original, -gone.compressed, -gone.deduplicated), iec=iec),
        *(totals_lines(totals, iec=iec) if totals else []),
        RULE,
    ]


def create_lines(
    location: str, info: "ArchiveInfo", totals: "RepositoryTotals | None", *, iec: bool
) -> list[str]:
    """What `create --stats` shows; without `totals`, what `--quick-stats` shows."""
    return [
        RULE,
        f"Repository: {printable(location)}",
        f"Archive name: {printable(info.name or '')}",
        f"Archive fingerprint: {info.id.hex()}",
        f"Time (start): {archive_moment(info.start)}",
        f"Time (end):   {archive_moment(info.end)}",
        f"Duration: {format_duration(_duration(info))}",
        f"Number of files: {info.stats.files}",
        "Utilization of max. archive size: 0%",
        RULE,
        HEADER,
        stats_row("This archive:", info.stats, iec=iec),
        *(totals_lines(totals, iec=iec) if totals else []),
        RULE,
    ]


def _request(info: "ArchiveInfo") -> list[str]:
    if info.requested is None:
        return []
    return [f"Deletion asked for: by {printable(info.requested_by)} on {archive_moment(info.requested)}"]


def archive_lines(info: "ArchiveInfo", totals: "RepositoryTotals", *, iec: bool) -> list[str]:
    """What `info ARCHIVE` shows."""
    import shlex

    return [
        f"Archive name: {printable(info.name or '')}",
        f"Archive fingerprint: {info.id.hex()}",
        f"Comment: {printable(info.comment)}",
        f"Hostname: {printable(info.hostname)}",
        f"Username: {printable(info.username)}",
        f"Time (start): {archive_moment(info.start)}",
        f"Time (end): {archive_moment(info.end)}",
        f"Duration: {format_duration(_duration(info))}",
        f"Number of files: {info.stats.files}",
        f"Working Directory: {printable(info.cwd)}",
        f"Command line: {printable(shlex.join(info.command_line))}",
        *_request(info),
        *([distrust_words(info)] if info.distrust is not None else []),
        "Utilization of maximum supported archive size: 0%",
        RULE,
        HEADER,
        stats_row("This archive:", info.stats, iec=iec),
        *totals_lines(totals, iec=iec),
        "",
        f"Added when it was made: {format_size(info.added, iec=iec)}",
        f"Freed if it is deleted: {format_size(info.stats.deduplicated, iec=iec)}",
    ]


def repository_lines(info: "RepositoryInfo", *, iec: bool) -> list[str]:
    """What `info REPOSITORY` shows: Borg's lines, then what only strongroom has."""
    encrypted = info.encryption in {"repokey", "keyfile"}
    lines = [
        f"Repository ID: {info.id.hex()}",
        f"Location: {printable(info.location)}",
        f"Encrypted: Yes ({info.encryption})" if encrypted else "Encrypted: No",
    ]
    if info.key_file:
        lines.append(f"Key file: {printable(info.key_file)}")
    lines += [
        f"Key role: {info.role}",
        f"Append only: {'Yes' if info.append_only else 'No'}",
        f"Quarantine: {counted(info.quarantine, 'day')}",
        f"Kept for a full disk: {_reserve(info, iec=iec)}",
        f"Created: {archive_moment(info.created)}",
        f"Last modified: {archive_moment(info.last_modified)}",
        f"Cache: {printable(info.cache_path)}",
        f"Security dir: {printable(info.security_path)}",
        RULE,
        HEADER,
        *totals_lines(info.totals, iec=iec),
    ]
    return lines


def _reserve(info: "RepositoryInfo", *, iec: bool) -> str:
    left, wanted = info.reserve
    kept = format_size(left, iec=iec)
    return kept if left == wanted else f"{kept} of {format_size(wanted, iec=iec)}"


def repository_record(info: "RepositoryInfo") -> dict[str, object]:
    """The part that every JSON answer about a repository starts with."""
    encryption: dict[str, object] = {"mode": info.encryption}
    if info.key_file:
        encryption["keyfile"] = info.key_file
    return {
        "repository": {
            "id": info.id.hex(),
            "location": without_surrogates(info.location),
            "last_modified": archive_moment(info.last_modified).iso(),
        },
        "encryption": encryption,
    }


def cache_record(info: "RepositoryInfo", totals: "RepositoryTotals") -> dict[str, object]:
    return {
        "path": info.cache_path,
        "stats": {
            "total_chunks": totals.total_chunks,
            "total_csize": totals.compressed,
            "total_size": totals.original,
            "total_unique_chunks": totals.unique_chunks,
            "unique_csize": totals.deduplicated,
            "unique_size": _unique_size(totals),
        },
    }


def _unique_size(totals: "RepositoryTotals") -> int | None:
    """As large as if everything compressed alike: sizes of single chunks are sealed. None: nobody knows."""
    if totals.original is None or not totals.compressed:
        return totals.original
    return round(totals.original * totals.deduplicated / totals.compressed)


def created_record(info: "ArchiveInfo") -> dict[str, object]:
    """The `archive` of `create --json`."""
    return {
        "command_line": [without_surrogates(word) for word in info.command_line],
        "duration": _duration(info).total_seconds(),
        "end": archive_moment(info.end).iso(),
        "id": info.id.hex(),
        "limits": {"max_archive_size": 0.0},  # there is no such limit; the key is Borg's
        "name": without_surrogates(info.name or ""),
        "start": archive_moment(info.start).iso(),
        "stats": {
            "compressed_size": info.stats.compressed,
            "deduplicated_size": info.stats.deduplicated,
            "nfiles": info.stats.files,
            "original_size": info.stats.original,
        },
    }


def archive_record(info: "ArchiveInfo") -> dict[str, object]:
    """One of the `archives` of `info --json`."""
    return (
        created_record(info)
        | {
            "added_size": info.added,
            "chunker_params": info.chunker,
            "comment": without_surrogates(info.comment),
            "cwd": without_surrogates(info.cwd),
            "freed_size": info.stats.deduplicated,
            "hostname": without_surrogates(info.hostname),
            "username": without_surrogates(info.username),
        }
        | ({} if info.distrust is None else {"distrusted": distrust_words(info)})
    )


def _duration(info: "ArchiveInfo") -> timedelta:
    return info.end - info.start if info.start and info.end else timedelta()
