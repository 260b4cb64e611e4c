"""Write the vectors, and the examples in docs/format.md, anew: `python tests/vectors/make.py`, by hand.

What is recorded already and still right stays as it is; `--fresh` makes all of it anew, for a new
version of the format.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from vectors.build import PASSPHRASE, TIME, build  # noqa: E402
from vectors.examples import updated  # noqa: E402

PAGE = HERE.parent.parent / "docs" / "format.md"
ARCHIVE = "first"


def main() -> None:
    path = HERE / "vectors.json"
    fresh = "--fresh" in sys.argv or not path.exists()
    recorded = build({}) if fresh else json.loads(path.read_text())
    vectors = build(recorded)
    path.write_text(json.dumps(vectors, indent=1) + "\n")
    PAGE.write_text(updated(PAGE.read_text(), vectors))
    for encryption in ("repokey", "none"):
        tar = HERE / f"repository-{encryption}.tar.xz"
        if fresh or not tar.exists():
            _repository(encryption, tar)


def _repository(encryption: str, target: Path) -> None:
    """A repository of the real program with one archive of a small tree."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        make_source(top / "source")
        environment = {
            "PATH": os.environ["PATH"],
            "STRONGROOM_REPO": str(top / "repository"),
            "STRONGROOM_PASSPHRASE": PASSPHRASE,
            "STRONGROOM_BASE_DIR": str(top / "base"),
        }
        program = [sys.executable, "-m", "strongroom"]
        subprocess.run([*program, "init", "-e", encryption], env=environment, check=True)
        words = [*program, "create", "--compression", "zstd,19", f"::{ARCHIVE}", "."]
        subprocess.run(words, env=environment, check=True, cwd=top / "source")
        with tarfile.open(target, "w:xz") as tar:
            tar.add(top / "repository", "repository", filter=_anonymous)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return None if info.name.startswith("repository/tmp") else info


def make_source(top: Path) -> None:
    """What the recorded repositories hold."""
    (top / "folder").mkdir(parents=True)
    (top / "text").write_text("A room as strong as its door.\n")
    (top / "empty").touch()
    (top / "folder" / "numbers").write_bytes(b"".join(n.to_bytes(4, "little") for n in range(3_000)))
    os.link(top / "text", top / "folder" / "same")
    (top / "link").symlink_to("folder/numbers")
    os.utime(top / "text", ns=(TIME, TIME))


if __name__ == "__main__":
    main()
