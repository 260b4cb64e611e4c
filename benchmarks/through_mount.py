"""Runs a program that mounts, reads the largest file below, and takes the mount away.

    python through_mount.py RESULT MOUNTPOINT FOLDER COMMAND...

FOLDER is where the tree shows up below MOUNTPOINT. RESULT gets, as JSON, the seconds until the mount
answered and those that reading took. The kernel's read-ahead is left as the program sets it.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

PATIENCE = 60  # seconds until it answers
LONGEST = 300  # seconds for all; then the program is killed, which ends what waits for it


def main(result: Path, point: Path, folder: str, command: list[str]) -> int:
    point.mkdir(exist_ok=True)
    start = time.perf_counter()
    with subprocess.Popen(command) as process:
        watchdog = threading.Timer(LONGEST, process.kill)
        watchdog.daemon = True  # it outlives no error
        watchdog.start()
        place = point / folder
        while not place.is_dir():
            if process.poll() is not None or time.perf_counter() - start > PATIENCE:
                process.kill()
                print("it does not mount", file=sys.stderr)
                return 1
            time.sleep(0.005)
        largest = max(
            (path for path in place.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
        )
        answered = time.perf_counter()
        total = 0
        with largest.open("rb", buffering=0) as file:
            buffer = bytearray(1 << 20)
            while got := file.readinto(buffer):
                total += got
        done = time.perf_counter()
        sound = total == largest.stat().st_size
        for words in (["fusermount3", "-u"], ["fusermount", "-u"], ["umount"]):
            try:
                if subprocess.run([*words, point], check=False, stderr=subprocess.DEVNULL).returncode == 0:
                    break
            except FileNotFoundError:
                continue
        process.wait()
    result.write_text(json.dumps({"answers": answered - start, "reads": done - answered, "bytes": total}))
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], [os.fsdecode(word) for word in sys.argv[4:]])
    )
