"""Archives that rest on what a revoked key wrote when it was not to be trusted any more.

They are marked, not hidden: `check --verify-data` with an open key tells which of their chunks are sound.
"""

from collections.abc import Iterable

from strongroom.commands.results import ArchiveInfo, Distrust
from strongroom.errors import Damaged, ObjectMissing, VersionUnknown
from strongroom.ids import ArchiveId, RefsId
from strongroom.repository import archives
from strongroom.repository.index import ChunkIndex
from strongroom.repository.refwalk import RefsWalk
from strongroom.repository.repository import Repository


class _Distrusted:
    """The chunks that lie in distrusted packs alone."""

    def __init__(self, index: ChunkIndex) -> None:
        self._index = index

    def __contains__(self, chunk: object) -> bool:
        return isinstance(chunk, bytes) and self._index.is_distrusted(chunk)


def distrusted_archives(repository: Repository, chosen: Iterable[ArchiveId]) -> dict[ArchiveId, Distrust]:
    """Those of the chosen ones that are concerned. Raises the store's errors."""
    state = repository.state
    packs = state.distrusted_packs()
    written = {one.id for one in state.distrusted_archives()}
    if not packs and not written:
        return {}
    repository.load_index()
    roots: dict[ArchiveId, RefsId] = {}
    for archive in chosen:
        try:
            roots[archive] = archives.decode(repository.archive_blob(archive), archive)[0]
        except (Damaged, ObjectMissing, VersionUnknown) as error:
            repository.tell_damage(f"What archive {archive.hex()} uses cannot be told: {error}")
    walk = RefsWalk(repository.store, None, _Distrusted(repository.index))
    walk.run(list(roots.values()))
    found = {}
    for archive, root in roots.items():
        uses = walk.sums(root).hits
        if uses or archive in written:
            key = state.keys[state.archives[archive].key_id].name if archive in written else None
            found[archive] = Distrust(key, uses)
    return found


def mark_distrusted(repository: Repository, found: list[ArchiveInfo]) -> None:
    """Fills in `distrust` of those that are concerned."""
    marks = distrusted_archives(repository, [info.id for info in found if info.problem is None])
    for info in found:
        info.distrust = marks.get(info.id)
