"""The location that the command line and the environment name together."""

import msgspec

from strongroom.cli import identity
from strongroom.cli.arguments import ARCHIVE, REPOSITORY
from strongroom.cli.environment import Environment
from strongroom.cli.placeholders import Placeholders
from strongroom.errors import CommandError
from strongroom.store.location import Location, check_archive_name, parse_location


def resolve(
    words: str, repository: str | None, expects: str, environment: Environment, placeholders: Placeholders
) -> Location:
    """`words` is the positional argument, `repository` the value of `-r`.

    `expects` is ARCHIVE, REPOSITORY or EITHER. Without `-r`, an empty argument, `::` and `::NAME`
    take the repository from the environment. With `-r`, the argument names only the archive.
    Raises `CommandError` or `PlaceholderError`.
    """
    words = placeholders.replace(words)
    named = repository if repository is not None else environment.get("REPO")
    if repository is not None or words in {"", "::"} or words.startswith("::"):
        if not named:
            raise CommandError(
                "No repository is named: give REPOSITORY or -r REPOSITORY, "
                f"or set {identity.variable('REPO')}."
            )
        location = parse_location(placeholders.replace(named))
        if location.archive:
            raise CommandError(f'"{named}" names an archive where a repository is expected.')
        archive = words.removeprefix("::")
        if archive:
            location = msgspec.structs.replace(location, archive=archive)
    else:
        location = parse_location(words)
    if expects == ARCHIVE and not location.archive:
        raise CommandError(f'"{words}" names no archive: REPOSITORY::ARCHIVE is expected.')
    if expects == REPOSITORY and location.archive:
        raise CommandError(f'"{words}" names an archive where a repository is expected.')
    if location.archive:
        # behind the first "::" may be another one: Borg takes such names there, and repositories have them
        check_archive_name(location.archive.replace("::", ""))
    return location
