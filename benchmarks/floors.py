"""What the machine itself takes to make the files of a tree: the floor under every extract.

Nobody syncs: not `tar`, not `dd`, and none of the programs compared. What `dd` writes by O_DIRECT is on the
disk, or in the disk's own cache, when it ends; the rest is in the page cache.
"""

import shlex
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import measure
import trees

LARGE = 64 * trees.MIB


@dataclass(frozen=True)
class Floor:
    tree: str
    how: str
    measured: measure.Measurement


def measured(
    tree: trees.Tree,
    folder: Path,
    environment: dict[str, str],
    log: Path,
    discard: Callable[[Path, trees.Tree], None],
) -> list[Floor]:
    """The tree copied by a pipe between two `tar`, then its large files by `dd` past the page cache."""
    parent, name = shlex.quote(str(tree.path.parent)), shlex.quote(tree.path.name)
    commands = {"tar | tar": f"tar -C {parent} -cf - {name} | tar -xf -"}
    large = [path for path in tree.path.rglob("*") if path.lstat().st_size >= LARGE and path.is_file()]
    if large:
        commands["dd oflag=direct"] = " && ".join(
            f"dd if={shlex.quote(str(path))} of={number} bs=4M oflag=direct status=none"
            for number, path in enumerate(large)
        )
    found = []
    for how, command in commands.items():
        place = folder / "floor"
        place.mkdir(parents=True)
        result = measure.run(["sh", "-c", command], environment, place, log)
        discard(place, tree)
        found.append(Floor(tree.name, how, result))
    return found


def lines(floors: Iterable[Floor]) -> list[str]:
    """Medians, one line a tree and way."""
    by: dict[tuple[str, str], list[measure.Measurement]] = {}
    for floor in floors:
        by.setdefault((floor.tree, floor.how), []).append(floor.measured)
    return [
        f"floor of extract, {tree}, {how}: {statistics.median(each.wall for each in all_):.2f} s, "
        f"cpu {statistics.median(each.cpu for each in all_):.2f} s"
        for (tree, how), all_ in by.items()
    ]
