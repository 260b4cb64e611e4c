# ruff: noqa: E501  # one row each
"""What of Borg 1.4's command line means something else here, and why: one row each.

`docs/borg.md` shows all rows, tests check that nothing of Borg's parser is without an equal or a row, and a
run that is given an option with nothing to do says so once, in the words of its row.
"""

from typing import Literal, NamedTuple

from strongroom.cli.identity import called

Told = Literal["info", "warning"]


class Instead(NamedTuple):
    verdict: Literal["better", "different"]
    words: str
    told: Told | None = None  # how loud; None: the option does something


EVERY = "*"
_CHUNKER = Instead(
    "different", "the repository decides how files are cut, so that all its clients share data", "warning"
)
_ONE_STEP = Instead("better", "it is one record in the log: there is nothing to interrupt", "info")
_SAVE_SPACE = Instead(
    "better", "this takes no space: on a full disk it uses what the repository has set aside", "info"
)
_CHECKPOINTS = Instead(
    "better", "there are no checkpoints: what an interrupted run uploaded serves the next one", "info"
)
_COMPRESSION = Instead("better", "the default is auto,zstd,2: smaller than Borg's lz4 at little cost")
_STRIPPED = Instead(
    "better",
    "of paths that become one the last in the order of names is restored; a hard link never leads to another file",
)
_STATS = Instead("better", "of a --dry-run, too: what would go")
_TAM = Instead("better", "every archive is part of the signed log, and always checked against it", "info")

OPTIONS: dict[tuple[str, str], Instead] = {
    (EVERY, "--progress"): Instead("better", "begins as Borg's does, and also tells speed and time left; with --log-json, Borg's messages"),
    (EVERY, "--debug-topic"): Instead("different", "--debug shows all there is", "info"),
    (EVERY, "--bypass-lock"): Instead("better", "reading takes no lock", "info"),
    (EVERY, "--consider-part-files"): Instead("better", "only repositories of Borg have part files", "info"),
    (EVERY, "--remote-path"): Instead("different", "without it the server runs strongroom, not borg"),
    (EVERY, "--debug-profile"): Instead(
        "different", "the file is what Python's pstats reads, without a conversion, whatever its name"
    ),
    ("create", "--no-cache-sync"): Instead("better", "there is nothing to synchronize", "info"),
    ("create", "--checkpoint-interval"): _CHECKPOINTS,
    ("import-tar", "--checkpoint-interval"): _CHECKPOINTS,
    ("recreate", "--checkpoint-interval"): _CHECKPOINTS,
    ("delete", "--checkpoint-interval"): _ONE_STEP,
    ("prune", "--checkpoint-interval"): _ONE_STEP,
    ("create", "--chunker-params"): _CHUNKER,
    ("import-tar", "--chunker-params"): _CHUNKER,
    ("recreate", "--chunker-params"): _CHUNKER,
    ("create", "--compression"): _COMPRESSION,
    ("import-tar", "--compression"): _COMPRESSION,
    ("recreate", "--compression"): _COMPRESSION,
    ("create", "--sparse"): Instead("better", "holes are always found", "info"),
    ("create", "--files-changed"): Instead("better", "a file that changes while it is read is always noticed", "info"),
    ("create", "--exclude-dataless"): Instead("different", "only macOS has such files", "info"),
    ("create", "--stdin-user"): Instead("different", "the default is whoever has the number 0, as a rule root"),
    ("create", "--stdin-group"): Instead("different", "the default is the group that has the number 0, as a rule root"),
    ("diff", "--same-chunker-params"): Instead("better", "all archives of a repository are cut alike", "info"),
    ("delete", "--stats"): _STATS,
    ("delete", "--quick-stats"): _STATS,
    ("prune", "--stats"): _STATS,
    ("prune", "--quick-stats"): _STATS,
    ("delete", "--save-space"): _SAVE_SPACE,
    ("prune", "--save-space"): _SAVE_SPACE,
    ("check", "--save-space"): _SAVE_SPACE,
    ("check", "--archives-only"): Instead("better", "with --repository-only, too, it is an error: nothing would be checked"),
    ("check", "--verify-data"): Instead("better", "with --repository-only, too: all bytes are compared with their names"),
    ("diff", "--content-only"): Instead("better", "also shows what became a thing of another kind"),
    ("compact", "--cleanup-commits"): Instead("better", "there are no such files to clean up", "info"),
    ("list", "--consider-checkpoints"): _CHECKPOINTS,
    ("mount", "--consider-checkpoints"): _CHECKPOINTS,
    ("extract", "--strip-components"): _STRIPPED,
    ("export-tar", "--strip-components"): _STRIPPED,
    ("init", "--encryption"): Instead(
        "better", "Borg's words are accepted; with and without -blake2 they mean the same, sealed against a quantum computer"
    ),
    ("init", "--import-related-secrets"): Instead("different", "an error: repositories never share secrets"),
    ("upgrade", "--inplace"): Instead("different", "there is no older format to change", "info"),
    ("upgrade", "--force"): Instead("different", "there is no older format to change", "info"),
    ("upgrade", "--tam"): _TAM,
    ("upgrade", "--check-tam"): _TAM,
    ("upgrade", "--disable-tam"): Instead("different", "the check of archives against the signed log cannot be switched off", "warning"),
    ("upgrade", "--check-archives-tam"): _TAM,
    ("upgrade", "--archives-tam"): _TAM,
    ("config", "--cache"): Instead("different", "nothing of the cache can be set"),
}  # fmt: skip
"""By command (EVERY for common options) and the option's longest name, or the metavar of an argument."""

COMMANDS: dict[str, Instead] = {
    "create": Instead("better", "an interrupted run's data serves the next one; no lock keeps two clients apart"),
    "check": Instead("better", "needs no key with --repository-only; --repair shows its plan, and asks, before it changes anything"),
    "compact": Instead(
        "better", "frees what has been deleted for longer than the quarantine, 30 days unless --quarantine says otherwise"
    ),
    "delete": Instead("better", "can be taken back by undelete until compact frees it after the quarantine"),
    "prune": Instead("better", "can be taken back by undelete until compact frees it after the quarantine"),
    "recreate": Instead("better", "the old archive can be brought back by undelete until compact frees it"),
    "mount": Instead("better", "beside the archives also by-date, by-host, by-name and latest"),
    "break-lock": Instead("better", "no data hangs on a lock; it says whose it removes"),
    "serve": Instead("better", "also --read-only, --write-only, a log of refusals, and quotas that hold for a whole folder"),
    "config": Instead("different", "shows Borg's keys and sets additional_free_space; what a repository is was signed when it was made"),
    "upgrade": Instead("different", "there is one format: it says so, and changes nothing"),
    "key migrate-to-repokey": Instead("different", "no key depends on a passphrase alone: it says so, and changes nothing"),
    "key export-related-secrets": Instead("different", "an error: repositories never share secrets, transfer needs no such thing"),
    "debug convert-profile": Instead("different", "copies: --debug-profile writes what Python's pstats reads"),
    "debug dump-archive": Instead("different", "one JSON object a line, in the shapes of info --json and list --json-lines"),
    "debug dump-archive-items": Instead("different", "prints the items as list --json-lines does, instead of writing files"),
    "debug dump-manifest": Instead("different", "there is no manifest: the records of the signed log, one JSON object a line"),
    "debug id-hash": Instead("different", "the keyed BLAKE3 of the file"),
    "debug get-obj": Instead("different", "writes the contents of a chunk"),
    "debug refcount-obj": Instead("different", "an error: find --same-as names the archives that hold a file"),
    "debug put-obj": Instead("different", "an error: nothing enters a repository but through its log"),
    "debug delete-obj": Instead("different", "an error: nothing leaves a repository but through its log"),
    "debug dump-hints": Instead("different", "an error: there is no such thing"),
    "debug dump-repo-objs": Instead("different", "an error: objects are files, named in docs/format.md"),
    "debug search-repo-objs": Instead("different", "an error: objects are sealed; find searches archives by name and by content"),
}  # fmt: skip


def told_of(command: str, words: list[str]) -> list[tuple[Told, str]]:
    """(level, sentence) for each option among the words that has nothing to do here."""
    given = {word.split("=")[0] for word in words[: words.index("--") if "--" in words else None]}
    found: list[tuple[Told, str]] = []
    for (name, flag), row in OPTIONS.items():
        if row.told is not None and name in (EVERY, command) and flag in given:
            found.append((row.told, f"{flag} changes nothing in {called()} {command}: {row.words}."))
    return found
