"""Which record of the log named an object, hence by which key and since when it is there."""

from strongroom.ids import ID_SIZE
from strongroom.monitor.chain import Chain
from strongroom.monitor.findings import Finding, Severity
from strongroom.monitor.words import at, key_name
from strongroom.repository.log import Record
from strongroom.repository.records import ArchiveBody, FreeingBody


def finding_about(chain: Chain, severity: Severity, code: str, name: str, own: bytes, what: str) -> Finding:
    """A finding about the object `name` whose id is `own`, with the record that named it."""
    source = record_naming(chain, own)
    if source is None:
        return Finding(severity, code, name, what)
    by = key_name(chain.state, source.key_id)
    said = f"{what} Record {source.seq}, signed by {by!r} on {at(source.time)}, names it."
    concerned = (source.body.archive.hex(),) if isinstance(source.body, ArchiveBody) else ()
    return Finding(severity, code, name, said, by, source.time, concerned)


def record_naming(chain: Chain, own: bytes) -> Record | None:
    """The first one that brought the pack, index or archive of that id."""
    for _, record in sorted(chain.records.items()):
        match record.body:
            case ArchiveBody(archive=archive, packs=packs, indexes=indexes):
                if archive == own or _has(packs, own) or _has(indexes, own):
                    return record
            case FreeingBody(new_packs=packs, new_indexes=indexes):
                if _has(packs, own) or _has(indexes, own):
                    return record
    return None


def _has(joined: bytes, one: bytes) -> bool:
    at_byte = joined.find(one)
    while at_byte > 0 and at_byte % ID_SIZE:
        at_byte = joined.find(one, at_byte + 1)
    return at_byte >= 0
