"""What the last run saw of each folder, so that an unchanged one costs only its listing.

A folder whose entries all look as they did (`digest`) keeps its tree without being touched;
in a changed one, files that look as they did keep their chunks without being read. Paths and
names are kept as keyed tags only: the cache of a machine that cannot open its backups must
not tell what was in them.
"""

from collections.abc import Callable, Iterator

import msgspec

from strongroom.crypto import hashing
from strongroom.repository.cache import COMPLETE_RUNS, FOLLOWED, Cache
from strongroom.repository.guarded import guard, unguard

_TAG = 16
_NAME_TAG = 8
_FLUSH_BYTES = 4 * 1024 * 1024
_REFRESH_RUNS = 8  # a record's run number is renewed when it lags this far
_KEEP_RUNS = 32  # records not seen for this long are dropped


class FolderRecord(msgspec.Struct, array_like=True, gc=False):
    """An unchanged folder in one piece. Chunk ids are concatenated."""

    digest: bytes  # of `looks`, and of the trees of the folders inside; empty: not to be believed
    run: int
    tree: bytes
    content: bytes  # of the folder's own files
    files: int
    original: int  # bytes of the files' content and of the tree
    looks: bytes = b""  # of all that is inside, but for the insides of folders


NEVER = -(1 << 63)
"""The times, in ns, of a `FileRecord` that tells only that the file was there: no file has them."""


class FileRecord(msgspec.Struct, array_like=True, gc=False):
    """How a file looked, and its chunks."""

    tag: bytes
    inode: int
    size: int
    ctime: int  # ns
    mtime: int  # ns
    content: bytes
    sizes: list[int] | None


_folder_decoder = msgspec.msgpack.Decoder(FolderRecord)
_files_decoder = msgspec.msgpack.Decoder(list[FileRecord])
_encode = msgspec.msgpack.Encoder().encode


def _sound(tag: bytes, stored: bytes | memoryview | None) -> bytes | None:
    return None if stored is None else unguard(tag, bytes(stored))


class FolderCache:
    """For one run and one thread. `complete` is called once all chunks of the run are stored."""

    def __init__(self, cache: Cache, id_key: bytes) -> None:
        self._cache = cache
        self._tagger: Callable[[bytes], bytes] = hashing.path_tagger(id_key)
        self._folders = cache.dbs["folders"]
        self._files = cache.dbs["files"]
        self._pending: list[tuple[bytes, bytes, bytes | None]] = []
        self._pending_bytes = 0
        with cache.writing() as txn:
            self._run = int(cache.noted(txn, b"run") or b"0") + 1
            cache.note(txn, b"run", b"%d" % self._run)
        self._trusted, self._followed = self._trusted_runs()
        self._txn = cache.env.begin()

    def _trusted_runs(self) -> tuple[set[int], bytes]:
        with self._cache.reading("meta") as txn:
            runs = set(
                msgspec.msgpack.decode(self._cache.noted(txn, COMPLETE_RUNS) or b"\x90", type=list[int])
            )
            return runs, self._cache.noted(txn, FOLLOWED) or b"0"

    def tag(self, path: bytes) -> bytes:
        return self._tagger(path)

    def name_tag(self, name: bytes) -> bytes:
        return self._tagger(name)[:_NAME_TAG]

    def folder(self, tag: bytes) -> FolderRecord | None:
        """None too for a record that was damaged: the folder is read anew."""
        raw = _sound(tag, self._txn.get(tag, db=self._folders))
        self._cache.looked_up()
        return None if raw is None else _folder_decoder.decode(raw)

    def is_trusted(self, record: FolderRecord) -> bool:
        """Whether the record's chunks are known to be stored, without looking each of them up."""
        return record.run in self._trusted

    def files(self, tag: bytes) -> dict[bytes, FileRecord]:
        """The folder's files by `name_tag`."""
        raw = _sound(tag, self._txn.get(tag, db=self._files))
        if raw is None:
            return {}
        return {record.tag: record for record in _files_decoder.decode(raw)}

    def renew(self, tag: bytes, record: FolderRecord) -> None:
        """The folder is still there: keep its record from growing old."""
        if self._run - record.run >= _REFRESH_RUNS and self.is_trusted(record):
            record.run = self._run
            self._push(tag, record, None)

    def remember(self, tag: bytes, record: FolderRecord, files: list[FileRecord | msgspec.Raw]) -> None:
        """Files may be encoded already: so they take less memory."""
        record.run = self._run
        self._push(tag, record, files)

    def _push(self, tag: bytes, record: FolderRecord, files: list[FileRecord | msgspec.Raw] | None) -> None:
        encoded = guard(tag, _encode(record))
        encoded_files = None if files is None else guard(tag, _encode(files))
        self._pending.append((tag, encoded, encoded_files))
        self._pending_bytes += len(encoded) + len(encoded_files or b"")
        if self._pending_bytes >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._pending:
            return
        self._txn.abort()
        self._pending.sort(key=lambda item: item[0])  # sorted puts touch each page once
        with self._cache.writing() as txn:
            for tag, folder, files in self._pending:
                txn.put(tag, folder, db=self._folders)
                if files is not None:
                    txn.put(tag, files, db=self._files)
        self._pending, self._pending_bytes = [], 0
        self._txn = self._cache.env.begin()

    def complete(self) -> None:
        """All chunks that this run's records name are safely stored now."""
        self.flush()
        oldest = self._run - _KEEP_RUNS
        runs = sorted(run for run in self._trusted if run >= oldest)
        with self._cache.writing() as txn:
            if (self._cache.noted(txn, FOLLOWED) or b"0") != self._followed:
                return  # another process learned meanwhile that something was freed
            self._cache.note(txn, COMPLETE_RUNS, _encode([*runs, self._run]))
        if self._run % _KEEP_RUNS == 0:
            self._drop_old(oldest)

    def _drop_old(self, oldest: int) -> None:
        with self._cache.writing() as txn:
            for tag in [tag for tag, record in self._all(txn) if record is None or record.run < oldest]:
                txn.delete(tag, db=self._folders)
                txn.delete(tag, db=self._files)

    def _all(self, txn: "object") -> Iterator[tuple[bytes, FolderRecord | None]]:
        """None for a record that was damaged."""
        for tag, raw in txn.cursor(db=self._folders):  # type: ignore[attr-defined]
            value = _sound(bytes(tag), raw)
            yield bytes(tag), None if value is None else _folder_decoder.decode(value)

    def close(self) -> None:
        """Keep what was seen so far; its chunks are looked up before they are believed."""
        self._txn.abort()
        self._txn = self._cache.env.begin()
        self.flush()
        self._txn.abort()
