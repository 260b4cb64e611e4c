"""Take back the deletion of archives, by a record in the log."""

from collections import Counter

from strongroom.commands.infos import archive_infos, called
from strongroom.commands.results import ArchiveInfo
from strongroom.crypto import hashing
from strongroom.errors import ArchiveExists, ArchiveMissing, RoleInsufficient, StrongroomError
from strongroom.ids import ID_SIZE
from strongroom.reporting import Reporter, counted
from strongroom.repository.log import ArchivesBody, LogState
from strongroom.repository.repository import Repository

BY_ID = "aid:"


def find_deleted(repository: Repository, word: str) -> ArchiveInfo:
    """The one archive of that name that was deleted, or whose deletion is asked for; or, after `aid:`,
    whose id begins so.

    Raises `ArchiveMissing`, and `ArchiveExists` when several fit, or a living one does.
    """
    tag = hashing.name_tag(repository.require_key().id_key, word)
    state = repository.state
    # A request's archive is the one that has the name; older ones are to be chosen by id.
    candidates = state.requested() if repository.only_asks else state.requested() + state.dead()
    found = [one for one in candidates if one.name_tag == tag]
    found = [one for one in found if one.deleted is None] or found
    named = bool(found)
    if not found and word.startswith(BY_ID) and ID_SIZE * 2 >= len(word) - len(BY_ID) > 0:
        found = [one for one in candidates if one.id.hex().startswith(word[len(BY_ID) :])]
    if not found and repository.state.by_tag(tag) is not None:
        raise ArchiveExists(f"Archive {word} is not deleted.")
    if not found:
        raise ArchiveMissing(
            f"There is no deleted archive {word} in {repository.store.describe()}. "
            "`strongroom list --deleted` shows those that there are."
        )
    if len(found) > 1:
        ids = ", ".join(BY_ID + one.id.hex()[:16] for one in found)
        raise ArchiveExists(f"{len(found)} deleted archives are called {word}. Choose by id: {ids}.")
    # one whose metadata is damaged can come back too, and be repaired then
    info = archive_infos(repository, found)[0]
    if named:
        info.name = word
    return info


def undelete_archives(repository: Repository, found: list[ArchiveInfo], reporter: Reporter) -> None:
    """Bring archives back, all or none.

    Raises `ArchiveExists` for one whose name is taken, or that another client brought back
    meanwhile; and the store's errors.
    """
    if not found:
        return

    def body(state: LogState) -> ArchivesBody:
        for error in obstacles(repository, found, state):
            if error is not None:
                raise error
        return ArchivesBody([bytes(info.id) for info in found])

    with repository.deleting(reporter):
        repository.commit("undelete", body)
    reporter.info(f"Brought back {counted(len(found), 'archive')}.")


def obstacles(
    repository: Repository, found: list[ArchiveInfo], state: LogState | None = None
) -> list[StrongroomError | None]:
    """What keeps each of the archives from coming back together with the others."""
    state = state or repository.state
    tags = Counter(state.archives[info.id].name_tag for info in found if info.id in state.archives)
    answers: list[StrongroomError | None] = []
    for info in found:
        archive = state.archives.get(info.id)
        answer: StrongroomError | None = None
        if archive is None:
            answer = ArchiveMissing(f"Archive {called(info)} was freed meanwhile: it cannot come back.")
        elif archive.deleted is None and archive.requested is not None:
            pass
        elif archive.deleted is None:
            answer = ArchiveExists(f"Archive {called(info)} was undeleted meanwhile. Nothing was done.")
        elif repository.only_asks:
            answer = RoleInsufficient(
                f"Archive {called(info)} was deleted by an administrator: a backup key cannot bring it back."
            )
        elif state.by_tag(archive.name_tag) is not None:
            answer = ArchiveExists(
                f"Archive {called(info)} cannot come back: a newer one has its name. Give that one another "
                "name with `strongroom rename`, then undelete this one."
            )
        elif tags[archive.name_tag] > 1:
            answer = ArchiveExists(
                f"Archive {called(info)} is one of several of that name, and only one of them can come back: "
                f"choose it by its id, {BY_ID}{info.id.hex()[:16]}."
            )
        answers.append(answer)
    return answers
