"""Objects that a distant `borg serve` is asked for ahead: how many round trips, and how much memory."""

import random
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

from test_borg_serve import needs_borg

from oldborg import PASSPHRASE, borg_program
from program import Program
from sshd import script
from strongroom.borg import ahead
from strongroom.borg.ahead import Ahead
from strongroom.errors import Damaged
from strongroom.ids import ChunkId

# Holds the server's answers until the client asks nothing more, which is a round trip; `told` counts them.
_RELAY = """
import os, select, subprocess, sys
told, *command = sys.argv[1:]
process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
asked, answers, held, trips = 0, process.stdout.fileno(), bytearray(), 0
while True:
    ready = select.select([asked, answers], [], [], 0.1 if held else None)[0]
    if asked in ready:
        data = os.read(asked, 1 << 18)
        if not data:
            break
        process.stdin.write(data)
    elif answers in ready:
        data = os.read(answers, 1 << 18)
        if not data:
            break
        held += data
    else:
        trips += 1
        while held:
            del held[:os.write(1, held)]
open(told, "a").write(f"{trips}\\n")
process.stdin.close()
sys.exit(process.wait())
"""


class Server:
    """Answers all that was asked so far when somebody waits: a round trip."""

    def __init__(self, sizes: dict[ChunkId, int]) -> None:
        self.sizes = sizes
        self.round_trips = 0
        self.asked: list[tuple[ChunkId, Future[bytes]]] = []
        self.count = 0

    def ask(self, chunk: ChunkId) -> Future[bytes]:
        self.count += 1
        future: Future[bytes] = Future()
        self.asked.append((chunk, future))
        return future

    def answer(self, future: Future[bytes]) -> bytes:
        if not future.done():
            self.round_trips += 1
            asked, self.asked = self.asked, []
            for chunk, one in asked:
                one.set_result(chunk * (self.sizes[chunk] // 32))
        return future.result()

    def ahead(self, *, knows: bool = True) -> Ahead:
        return Ahead(self.ask, (lambda chunk: self.sizes[chunk]) if knows else (lambda _: 0), len)


def _chunks(count: int) -> list[ChunkId]:
    return [ChunkId(number.to_bytes(32, "big")) for number in range(count)]


def _read(server: Server, ahead: Ahead, chunk: ChunkId) -> bytes:
    return server.answer(ahead.take(chunk) or server.ask(chunk))


def test_many_small_objects_are_a_few_round_trips() -> None:
    chunks = _chunks(5000)
    server = Server(dict.fromkeys(chunks, 320))
    reading = server.ahead()
    reading.expect(chunks)
    for chunk in chunks:
        assert _read(server, reading, chunk) == chunk * 10
    assert server.count == 5000
    assert server.round_trips <= 10


def test_what_waits_is_bounded_in_bytes() -> None:
    chunks = _chunks(200)
    size = 1 << 20
    server = Server(dict.fromkeys(chunks, size))
    reading = server.ahead()
    reading.expect(chunks)
    for number, chunk in enumerate(chunks, start=1):
        _read(server, reading, chunk)
        assert (server.count - number) * size <= ahead.BYTES
    assert server.count == 200


def test_a_server_whose_objects_are_larger_than_expected_fills_no_memory() -> None:
    """All answers beyond the bound are dropped when they come, and asked for again when they are needed."""
    chunks = _chunks(300)
    server = Server(dict.fromkeys(chunks, 32))
    reading = server.ahead()
    reading.expect(chunks)
    first = reading.take(chunks[0])
    assert first is not None
    assert server.count == 300
    huge = bytes(1 << 20)
    for _, future in server.asked:
        future.set_result(huge)
    server.asked = []
    kept = [chunk for chunk in chunks[1:] if reading.take(chunk) is not None]
    assert 0 < len(kept) * len(huge) <= 2 * ahead.BYTES
    assert _read(server, reading, chunks[-1])


def test_what_nobody_takes_is_not_in_the_way() -> None:
    chunks = _chunks(3000)
    server = Server(dict.fromkeys(chunks, 32))
    reading = server.ahead()
    reading.expect(chunks)
    wanted = chunks[::3]  # the others were in the reader's cache
    for chunk in wanted:
        _read(server, reading, chunk)
    assert server.round_trips <= 10


def test_what_several_files_share_is_asked_for_once() -> None:
    (zeros,) = _chunks(1)
    server = Server({zeros: 32})
    reading = server.ahead()
    reading.expect([zeros] * 100_000)
    _read(server, reading, zeros)
    assert reading.take(zeros) is None
    assert server.count == 1


def test_an_order_that_breaks_off_is_only_an_order() -> None:
    chunks = _chunks(3)

    def order() -> Iterator[ChunkId]:
        yield chunks[0]
        raise Damaged("A folder cannot be read.")

    server = Server(dict.fromkeys(chunks, 32))
    reading = server.ahead(knows=False)
    reading.expect(order())
    for chunk in chunks:
        _read(server, reading, chunk)
    reading.expect(chunks)
    assert reading.take(chunks[2]) is not None


@needs_borg
def test_files_behind_borg_serve_cost_few_round_trips(program: Program, tmp_path: Path) -> None:
    borg, repository = borg_program(), tmp_path / "repo"
    env = {"BORG_BASE_DIR": str(tmp_path / "home"), "BORG_PASSPHRASE": PASSPHRASE, "PATH": "/usr/bin:/bin"}
    noise = random.Random(5)
    source = tmp_path / "src"
    for number in range(300):
        folder = source / f"{number:03d}"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(noise.randbytes(500))
    for words in (["init", "-e", "repokey", str(repository)], ["create", f"{repository}::one", "src"]):
        subprocess.run([str(borg), *words], cwd=tmp_path, env=env, check=True)
    told = tmp_path / "round trips"
    (tmp_path / "relay.py").write_text(_RELAY)
    command = [
        sys.executable,
        str(tmp_path / "relay.py"),
        str(told),
        "env",
        f"BORG_BASE_DIR={tmp_path / 'far'}",
    ]
    program.env |= {
        "BORG_RSH": script(tmp_path, f"exec {shlex.join([*command, str(borg), 'serve'])}"),
        "BORG_PASSPHRASE": PASSPHRASE,
    }
    place = f"borg+ssh://far{repository}"
    program("init", "--encryption=none").ok()
    program("transfer", "--from", place).ok()
    out = tmp_path / "out"
    out.mkdir()
    program("extract", f"{place}::one", cwd=out).ok()
    assert len(list(out.rglob("file"))) == 300
    program("check", "--verify-data", place).ok()
    trips = [int(line) for line in told.read_text().split()]
    assert len(trips) == 3
    assert max(trips) < 60, trips
