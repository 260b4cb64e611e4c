"""Real borgmatic, with a configuration as its users write it, drives this program under the name borg.

Its whole cycle runs on a local repository, and over a real sshd where the server's forced command says `borg
serve`.
"""

import filecmp
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mounting import FUSE
from program import fast_folder, remove_tree
from sshd import needs_sshd, running

BORGMATIC = Path(sys.executable).with_name("borgmatic")

CONFIGURATION = """
source_directories:
    - {root}/src
source_directories_must_exist: true
repositories:
    - path: {repository}
      label: home
local_path: {root}/bin/borg
{more}
encryption_passphrase: "a secret"
archive_name_format: 'laptop-{{now:%Y-%m-%dT%H:%M:%S.%f}}'
match_archives: 'sh:laptop-*'
exclude_patterns:
    - '*.o'
exclude_if_present:
    - .nobackup
exclude_caches: true
compression: zstd,3
checkpoint_interval: 900
keep_daily: 1
keep_weekly: 4
checks:
    - name: repository
    - name: archives
    - name: data
    - name: extract
    - name: spot
      count_tolerance_percentage: 10
      data_sample_percentage: 100
      data_tolerance_percentage: 20
      xxh64sum_command: {root}/bin/xxh64sum
commands:
    - before: action
      when: [create]
      run: ["echo before >> {root}/hooks"]
    - after: action
      when: [create]
      run: ["echo after >> {root}/hooks"]
    - after: error
      run: ["echo error >> {root}/hooks"]
"""

# the program under that name; its keys are cheap to open, for there will be dozens of runs
BORG = f"""
import sys
if "init" in sys.argv:
    sys.path.insert(0, {str(Path(__file__).parents[1])!r})
    from economy import make_repositories_cheap
    make_repositories_cheap()
from strongroom.cli.main import main
main()
"""

XXH64SUM = """
import sys, xxhash
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        print(f"{xxhash.xxh64_hexdigest(file.read())}  {path}")
"""


class Machine:
    """One with borgmatic on it; called, it runs that."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("bin", "home", "src/folder", "src/private", "out"):
            (root / name).mkdir(parents=True)
        for name, text in (("borg", BORG), ("xxh64sum", XXH64SUM)):
            tool = root / "bin" / name
            tool.write_text(f"#!{sys.executable}\n{text}")
            tool.chmod(0o700)
        for number in range(20):
            (root / f"src/folder/file{number}").write_text(f"content {number}\n" * 10)
        (root / "src/module.o").write_text("not wanted")
        (root / "src/private/.nobackup").touch()
        (root / "src/private/secret").write_text("not wanted either")
        (root / "src/link").symlink_to("folder/file1")

    def configure(self, repository: str, more: str = "") -> None:
        text = CONFIGURATION.format(root=self.root, repository=repository, more=more)
        (self.root / "config.yaml").write_text(text)

    def __call__(self, *words: str, code: int = 0) -> str:
        """All that it said."""
        home = self.root / "home"
        env = {
            name: value for name, value in os.environ.items() if not name.startswith(("STRONGROOM_", "BORG_"))
        }
        env |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "XDG_STATE_HOME": str(home)}
        env |= {"BORG_BASE_DIR": str(home), "TMPDIR": str(home)}
        done = subprocess.run(
            [BORGMATIC, "--config", self.root / "config.yaml", *words, "-v", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env | {"NO_COLOR": "1"},
            text=True,
            check=False,
        )
        assert done.returncode == code, (words, done.stdout[-3000:])
        return done.stdout

    def hooks(self) -> list[str]:
        return (self.root / "hooks").read_text().split()

    def assert_restored(self, below: Path) -> None:
        restored = below / str(self.root / "src").lstrip("/")
        assert sorted(path.name for path in restored.iterdir()) == ["folder", "link"]
        names = [f"file{number}" for number in range(20)]
        same, _, _ = filecmp.cmpfiles(self.root / "src/folder", restored / "folder", names, shallow=False)
        assert same == names


@pytest.fixture
def machine() -> Iterator[Machine]:
    root = Path(tempfile.mkdtemp(prefix="strongroom-borgmatic-", dir=fast_folder()))
    yield Machine(root)
    remove_tree(root)


BEGIN = ["repo-create", "--encryption", "repokey-blake2", "create", "--list", "--stats"]
CHECK = ["check", "--force", "extract", "--archive", "latest", "--destination"]


def test_the_whole_cycle_on_a_local_repository(machine: Machine) -> None:
    machine.configure(str(machine.root / "repo"))
    first = machine(*BEGIN)
    assert f"A {machine.root}/src/folder/file1\n" in first
    assert "This archive:" in first and "module.o" not in first
    looking = ["repo-list", "list", "info", "--list", "--stats"]
    second = machine("create", "prune", "compact", *CHECK, str(machine.root / "out"), *looking)
    assert "Spot check passed" in second and "Deleted data:" in second
    # both are left: as with Borg, the rules keep the oldest where they find too few
    assert len(re.findall(r"^laptop-\S+ +\w{3}, ", second, re.MULTILINE)) == 2
    assert re.search(r"^-rw\S+ .* \S+/src/folder/file7$", second, re.MULTILINE)
    assert re.search(r"^Archive name: laptop-", second, re.MULTILINE)
    assert machine.hooks() == ["before", "after"] * 2
    machine.assert_restored(machine.root / "out")
    if FUSE:
        point = machine.root / "mnt"
        point.mkdir()
        machine("mount", "--archive", "latest", "--mount-point", str(point))
        try:
            machine.assert_restored(point)
        finally:
            machine("umount", "--mount-point", str(point))
        assert list(point.iterdir()) == []
    # a hook runs when something goes wrong, and a spot check does find that files are not what they were
    for number in range(20):
        (machine.root / f"src/folder/file{number}").write_text("changed")
    assert "Spot check failed" in machine("check", "--only", "spot", "--force", code=1)
    assert machine.hooks()[-1] == "error"


@needs_sshd
def test_a_cycle_over_ssh(machine: Machine) -> None:
    (machine.root / "sshd").mkdir()
    served = machine.root / "server"
    served.mkdir()
    with running(machine.root / "sshd") as sshd:
        sshd.allow("laptop", f"cd {served} && exec {machine.root}/bin/borg serve --restrict-to-path {served}")
        connection = f"ssh_command: {sshd.rsh('laptop')}\nremote_path: borg\nlock_wait: 5"
        machine.configure(sshd.url("./laptop"), connection)
        said = machine(*BEGIN, "prune", "compact", *CHECK, str(machine.root / "out"))
    assert "Spot check passed" in said
    machine.assert_restored(machine.root / "out")
    assert (served / "laptop/config").exists()
