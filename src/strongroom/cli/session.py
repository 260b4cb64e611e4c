"""What one run of a command works with: arguments, environment, output, and the opened repository."""

import os
from argparse import Namespace
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.cli.environment import Environment, directories
from strongroom.cli.location import resolve
from strongroom.cli.output import Output
from strongroom.cli.passphrase import EnvironmentPassphrases
from strongroom.cli.placeholders import Placeholders
from strongroom.cli.questions import Questions
from strongroom.cli.signals import Signals
from strongroom.errors import CommandError
from strongroom.store.location import Location, parse_location

if TYPE_CHECKING:
    from strongroom.archive.pattern_files import PatternBuilder
    from strongroom.borg.repository import BorgRepository
    from strongroom.repository.keyfiles import Need
    from strongroom.repository.places import Directories
    from strongroom.repository.repository import Repository
    from strongroom.repository.unlocking import Unlocking
    from strongroom.store.ssh import SshOptions


_READING_BORG = ("cat", "compare", "diff", "du", "export-tar", "extract", "find", "info", "list", "mount")
"""Commands that work on a repository of Borg's as on ours."""
_DUMPS = ("debug dump-archive", "debug dump-archive-items")
READING = (*_READING_BORG, "analyze", "browse", *_DUMPS, "drill", "transfer")
"""Commands to which a copy of the repository is as good; to `transfer`, of the one that it reads."""
_FALLBACK_ELSEWHERE = ("check", "transfer")
"""A check looks at the repository itself, and repairs from the copy; a transfer writes to it."""


class Session:
    def __init__(self, args: Namespace, environment: Environment, output: Output, signals: Signals) -> None:
        self.args = args
        self.environment = environment
        self.output = output
        self.signals = signals
        self.questions = Questions(environment, output)
        self.placeholders = Placeholders(environment, getattr(args, "timestamp", None))
        self.exit_code = 0  # of a command that passes on another program's

    @cached_property
    def location(self) -> Location:
        """What the arguments and the environment name. Raises `CommandError`, `PlaceholderError`."""
        args = self.args
        return resolve(args.location, args.repo, args.expects, self.environment, self.placeholders)

    @property
    def archive(self) -> str:
        """The archive's name, for commands that need one."""
        name = self.location.archive
        assert name is not None, "the command's arguments demand an archive"
        return name

    def settle_lone_path(self, default: str | None) -> None:
        """One word where REPOSITORY and PATH could stand: the path, if the repository is known.

        A folder or a remote location still names the repository, as in Borg.
        """
        args = self.args
        word = args.location
        known = args.repo is not None or bool(self.environment.get("REPO"))
        if args.path != default or not known or not word or word.startswith("::"):
            return
        if args.repo is not None or not (os.path.isdir(word) or parse_location(word).is_remote):
            args.path, args.location = word, ""

    def second_location(self, words: str) -> str:
        """Another repository that the arguments name. Raises `CommandError`, `PlaceholderError`."""
        place = parse_location(self.placeholders.replace(words))
        if place.archive:
            raise CommandError(f'"{words}" names an archive where a repository is expected.')
        return place.canonical()

    @cached_property
    def directories(self) -> "Directories":
        return directories(self.environment)

    @cached_property
    def passphrases(self) -> EnvironmentPassphrases:
        return EnvironmentPassphrases(self.environment, self.questions)

    @cached_property
    def unlocking(self) -> "Unlocking":
        from strongroom.repository.unlocking import Unlocking

        return Unlocking(self.passphrases)

    def expect(self, need: "Need") -> None:
        """The repository will be opened for that: what takes longest begins now, while the rest is loaded.

        Starts a thread: not before a fork. Raises what naming a repository and its passphrase does.
        """
        self.unlocking.foresee(self.location.canonical(), self.directories, need)

    def end(self) -> None:
        """Nothing that was begun goes on."""
        if "unlocking" in self.__dict__:
            self.unlocking.derive.give_up()

    def open(
        self, need: "Need", *, lasting: bool = False, copy_as_it_is: bool = False
    ) -> "AbstractContextManager[Repository]":
        """The repository, opened for what the command is about to do; `lasting` if it goes on for long."""
        self.expect(need)
        from strongroom.commands.opening import open_repository

        self.apply_transport()
        if self.location.is_borg and self.args.command.name in _READING_BORG:
            return self.open_borg(self.location)
        repository = open_repository(
            self.location.canonical(),
            self.directories,
            self.unlocking,
            confirm=self.questions.confirm,
            need=need,
            reporter=self.output,
            lasting=lasting,
            fallback=None if self.args.command.name in _FALLBACK_ELSEWHERE else self.fallback(),
            copy_as_it_is=copy_as_it_is,
        )
        repository.lock_wait = max(0, self.args.lock_wait)
        return repository

    def open_borg(self, place: Location) -> "BorgRepository":
        """A repository that Borg made, for reading."""
        from strongroom.borg.acquaintance import check_acquaintance
        from strongroom.borg.opening import BorgPlaces, open_borg
        from strongroom.cli.environment import BorgEnvironment, borg_key_file, borg_keys, borg_security

        if self.args.fallback is not None:
            raise CommandError(
                "--fallback is for repositories of strongroom: Borg's have no copy of that kind."
            )
        own = self.directories
        repository = open_borg(
            place,
            BorgPlaces(borg_keys(self.environment), borg_key_file(self.environment), own.cache, own.security),
            EnvironmentPassphrases(BorgEnvironment(self.environment), self.questions),
            self.output,
            self._borg_transport(place),
            lock_wait=max(0, self.args.lock_wait),
            with_checkpoints=getattr(self.args, "consider_checkpoints", False),
            with_parts=self.args.consider_part_files,
        )
        try:
            check_acquaintance(repository, borg_security(self.environment), self.questions.confirm)
        except BaseException:
            repository.close()
            raise
        return repository

    def _borg_transport(self, place: Location) -> "SshOptions":
        """As for our own, but that the program there is Borg."""
        from msgspec.structs import replace

        from strongroom.store.ssh import SshOptions

        program = self.environment.plain("BORG_REMOTE_PATH")
        if self.args.remote_path and place == self.location:
            program = self.placeholders.replace(self.args.remote_path)
        return replace(SshOptions.of(os.environ), remote_path=program or "borg")

    def fallback(self) -> str | None:
        """The copy that may be read from instead. Raises `CommandError` where nothing is read."""
        if self.args.fallback is None:
            return None
        if self.args.command.name not in READING:
            raise CommandError(f"--fallback is for commands that read archives: {', '.join(READING)}.")
        return self.second_location(self.args.fallback)

    def apply_transport(self) -> None:
        """Hand the options about the connection to whoever makes it: as the variables they stand for."""
        args = self.args
        for name, value in (
            ("RSH", args.rsh),
            ("REMOTE_PATH", args.remote_path and self.placeholders.replace(args.remote_path)),
            ("UPLOAD_RATELIMIT", args.upload_ratelimit),
            ("UPLOAD_BUFFER", args.upload_buffer),
        ):
            if value is not None:
                os.environ[f"STRONGROOM_{name}"] = str(value)

    @cached_property
    def patterns(self) -> "PatternBuilder":
        """What --exclude, --pattern and the like say, in their order. Raises `CommandError`."""
        from strongroom.archive.pattern_files import PatternBuilder

        builder = PatternBuilder()
        for kind, value in self.args.pattern_rules:
            builder.add(kind, value)
        return builder

    def print_json(self, record: object) -> None:
        import json

        self.output.write(json.dumps(record, sort_keys=True, indent=self.environment.json_indent) + "\n")

    def print_lines(self, lines: list[str]) -> None:
        self.output.write("\n".join(lines) + "\n")
