"""Records, keys and times in the words of an audit's report."""

from datetime import UTC, datetime

from strongroom.commands.infos import moment
from strongroom.ids import KeyId
from strongroom.repository.log import ArchiveBody, ArchivesBody, KeyAddBody, KeyRevokeBody, LogState, Record

_SHOWN = 5  # of a list, before "and N more"


def at(ns: int) -> str:
    """A time in UTC, to the second."""
    return moment(ns).strftime("%Y-%m-%d %H:%M:%S UTC")


def now() -> int:
    """ns since the epoch, by this machine's clock."""
    return int(datetime.now(UTC).timestamp() * 1_000_000_000)


def short(some_id: bytes) -> str:
    """An archive as commands take it."""
    return f"aid:{some_id.hex()[:16]}"


def key_name(state: LogState, key: KeyId) -> str:
    known = state.keys.get(key)
    return f"unknown key {key.hex()}" if known is None else known.name


def record_words(state: LogState, record: Record) -> str:
    """What a record does, by whom and when."""
    match record.body:
        case ArchiveBody(archive=archive):
            about = f"{record.kind} {short(archive)}"
        case ArchivesBody(archives=archives):
            about = f"{record.kind} of {listed([short(one) for one in archives])}"
        case KeyAddBody(name=name, role=role):
            about = f"key-add of {name!r} as {role}"
        case KeyRevokeBody(key_id=key_id):
            about = f"key-revoke of {key_name(state, KeyId(key_id))!r}"
        case _:
            about = record.kind
    return f"{about}, by the key {key_name(state, record.key_id)!r} on {at(record.time)}"


def listed(words: list[str]) -> str:
    more = len(words) - _SHOWN
    return ", ".join(words[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
