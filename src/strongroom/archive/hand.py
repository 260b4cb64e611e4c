"""What a process of the crew does: it restores the small files of one portion after the other."""

import os
import select
import socket
from functools import partial

import msgspec

from strongroom.archive.duplicates import FROM
from strongroom.archive.entries import Entry
from strongroom.archive.finishing import Finisher
from strongroom.archive.options import RestoreOptions
from strongroom.archive.portions import Given, Outcome, Portion, framed, receive
from strongroom.archive.targets import FileTarget, Folder
from strongroom.archive.unpack import Unpacker
from strongroom.archive.window import BundleJob, Use
from strongroom.ids import ID_SIZE, ChunkId
from strongroom.reporting import Progress, SilentReporter
from strongroom.repository.reading import BundleReader

_decoder = msgspec.msgpack.Decoder(Portion)


class _Nowhere:
    """Chunks that are not where they should be are for the other one to look for."""

    def read_elsewhere(self, chunk: ChunkId) -> None:
        return None


class Hand:
    """Works until the other end is closed."""

    def __init__(self, end: socket.socket, reader: BundleReader, options: RestoreOptions) -> None:
        self._end = end
        self._poll = select.poll()
        self._poll.register(end, 0)  # tells only that the other one has hung up
        self._reader = reader
        self._finisher = Finisher(options, SilentReporter())
        self._unpacker = Unpacker(reader, _Nowhere(), 1, self._finisher.write, self._finish, Progress())

    def run(self) -> None:
        """Raises OSError when nobody is there any more."""
        while True:
            packed, descriptors = receive(self._end)
            outcome = self._restore(_decoder.decode(packed), descriptors)
            self._end.sendall(framed(outcome))
            for one in descriptors:
                os.close(one)

    def _restore(self, portion: Portion, descriptors: list[int]) -> Outcome:
        folders = [
            Folder(path, None, fd, (0, 0)) for path, fd in zip(portion.folders, descriptors, strict=True)
        ]
        targets = [_target(folders[number], entry) for number, entry in portion.files]
        for share in portion.shares:
            if self._poll.poll(0):
                raise ConnectionResetError
            uses = [Use(position, targets[one], 0, targets[one].entry.size) for position, one in share.uses]
            given = share.given
            if given is not None:
                self._reader.learn(share.pack, given.sessions)
            take = partial(_stored, given) if given is not None else None
            self._unpacker.run(BundleJob(share.pack, share.pack_size, share.bundle, uses), take)
        for target in targets:
            if not target.entry.content:
                self._finish(target)
        left = [number for number, one in enumerate(targets) if one.error is not None or one.damaged]
        made = [
            (number, one.identity, one.ctime)
            for number, one in enumerate(targets)
            if one.identity is not None
        ]
        return Outcome(left, made, self._finisher.take_shortfalls())

    def _finish(self, target: FileTarget) -> None:
        if target.damaged:  # the other one restores it
            target.close(remember=False)
        else:
            self._finisher.finish(target, remember=target.entry.size >= FROM)


def _stored(given: Given) -> bytes:
    return given.stored


def _target(folder: Folder, entry: Entry) -> FileTarget:
    path = folder.path + b"/" + entry.name if folder.path else entry.name
    return FileTarget(folder, entry.name, path, entry, len(entry.content) // ID_SIZE)
