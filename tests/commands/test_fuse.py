"""What the mount does for the kernel, without one."""

from chest import Chest
from strongroom.archive.browsing import ArchiveFolder, Browser, Top, View
from strongroom.archive.patterns import PatternMatcher
from strongroom.commands.fuse import Appearance, ArchiveOperations
from strongroom.reporting import SilentReporter


def test_a_folder_that_is_opened_is_not_listed_before_it_is_read() -> None:
    """Walkers open every parent again, to go up: with 200,000 entries in it, that was all they did."""
    chest = Chest()
    root = chest.tree({"wide": {"one": b"1", "two": b"2"}})
    view = View(chest.archive(root), PatternMatcher(), b"archive")
    operations = ArchiveOperations(
        Browser(Top(root, b"key", ArchiveFolder, [view], 0), 1000),
        chest,
        Appearance(),
        SilentReporter(),
        lambda: None,
    )
    handle = operations.opendir("/wide")
    read = len(chest.was_read)
    names = [name for name, _ in operations.entries(handle, 0)]
    assert names == [b".", b"..", b"one", b"two"]
    assert len(chest.was_read) == read + 1
    assert list(operations.entries(handle, 2)) == list(operations.entries(handle, 0))[2:]
    assert len(chest.was_read) == read + 1
