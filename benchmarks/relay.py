"""A distant server in one process: what either side says reaches the other later.

    python relay.py SECONDS PORT        relays a free port of 127.0.0.1, printed first, to PORT

Bytes wait SECONDS in each direction, in order, as many as the ends send unanswered: OpenSSH's
window bounds them. Ends with its standard input, and so with who started it.
"""

import contextlib
import queue
import socket
import sys
import threading
import time

READ_BYTES = 1 << 18
# Each read waits for more to come: packet by packet, the relay took as much CPU as half a backup.
GATHER = 0.0005  # seconds


def pump(source: socket.socket, sink: socket.socket, delay: float) -> None:
    """Passes on everything, and then the end of it, `delay` seconds after it arrived."""
    waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def read() -> None:
        data = b"."
        while data:
            time.sleep(GATHER)
            try:
                data = source.recv(READ_BYTES)
            except ConnectionError:
                data = b""
            waiting.put((time.monotonic() + delay, data))

    threading.Thread(target=read, daemon=True).start()
    # an end that is gone needs no more bytes; its own program says why it went
    with contextlib.suppress(OSError):
        while True:
            due, data = waiting.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)


def serve(near: socket.socket, port: int, delay: float) -> None:
    """One connection, until both directions have ended."""
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=pump, args=(far, near, delay), daemon=True)
        back.start()
        pump(near, far, delay)
        back.join()


def accept(listener: socket.socket, port: int, delay: float) -> None:
    while True:
        near, _ = listener.accept()
        threading.Thread(target=serve, args=(near, port, delay), daemon=True).start()


def main() -> None:
    delay, port = float(sys.argv[1]), int(sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=accept, args=(listener, port, delay), daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
