"""The commands: one module each, found by this table and loaded only when used.

A module has `DESCRIPTION` and `EPILOG` (help text), `define(parser)` (its arguments) and
`run(session)` (resolve options, call `strongroom.commands`, print the result).
"""

from typing import NamedTuple


class Command(NamedTuple):
    name: str  # as typed; "key export" is the command export of the group key
    module: str  # below strongroom.cli.commands
    help: str


GROUPS: dict[str, str] = {
    "benchmark": "measure how fast a repository is",
    "debug": "look below the surface, for those who search for a bug",
    "key": "manage the keys of a repository",
    "server": "set up this machine for clients to back up to",
}

COMMANDS: tuple[Command, ...] = (
    Command("init", "init", "create an empty repository"),
    Command("create", "create", "back up files into a new archive"),
    Command("list", "listing", "list archives, or the files of one"),
    Command("info", "info", "show facts about a repository or its archives"),
    Command("extract", "extract", "restore files of an archive"),
    Command("drill", "drill", "restore for practice, and tell how long all would take"),
    Command("diff", "diff", "show what changed between two archives"),
    Command("mount", "mount", "show archives as folders"),
    Command("umount", "umount", "take a mount away"),
    Command("browse", "browse", "show archives in a web browser, and as WebDAV"),
    Command("compare", "compare", "show what differs between an archive and the disk"),
    Command("export-tar", "export_tar", "write the files of an archive as a tar archive"),
    Command("import-tar", "import_tar", "make an archive of a tar archive"),
    Command("cat", "cat", "write files of an archive to standard output"),
    Command("analyze", "analyze", "show which folders make a repository grow"),
    Command("du", "du", "show how much the folders of an archive take"),
    Command("find", "find", "find files and their versions in all archives"),
    Command("check", "check", "verify a repository"),
    Command("audit", "audit", "tell whether a repository was tampered with"),
    Command("delete", "delete", "delete archives or a repository"),
    Command("undelete", "undelete", "bring deleted archives back"),
    Command("prune", "prune", "delete old archives by retention rules"),
    Command("compact", "compact", "free the space of what was deleted"),
    Command("protect", "protect", "add parity, so that rotten parts can be healed"),
    Command("replicate", "replicate", "copy a repository to a second place, without a key"),
    Command("repair", "repair", "heal what is damaged, from a copy or from parity"),
    Command("transfer", "transfer", "bring archives over from a repository with other keys"),
    Command("rename", "rename", "rename an archive"),
    Command("with-lock", "with_lock", "run a command while nobody else writes to a repository"),
    Command("break-lock", "break_lock", "remove the locks of a repository"),
    Command("recreate", "recreate", "make archives anew, without some of their files"),
    Command("config", "config", "show the configuration of a repository"),
    Command("upgrade", "upgrade", "tell whether a repository's format needs an upgrade"),
    Command("benchmark crud", "benchmark", "create, read, update and delete files of several kinds"),
    Command("key export", "key_export", "write a copy of a key, for the safe"),
    Command("key import", "key_import", "take a key back from its copy"),
    Command("key change-passphrase", "key_change_passphrase", "change the passphrase of a key"),
    Command("key add", "key_add", "make a key for another machine or purpose"),
    Command("key list", "key_list", "list the keys of a repository"),
    Command("key revoke", "key_revoke", "take a key's rights away"),
    Command("key migrate-to-repokey", "key_migrate_to_repokey", "tell that no key needs a migration"),
    Command("key export-related-secrets", "key_export_related_secrets", "refuse to share secrets"),
    Command("server init", "server_init", "make a folder a place that clients back up to"),
    Command("server add-client", "server_add_client", "let a client in"),
    Command("server list", "server_list", "list the clients"),
    Command("server set", "server_set", "change a client's quota or rights"),
    Command("server remove-client", "server_remove_client", "lock a client out"),
    Command("server rotate-key", "server_rotate_key", "exchange a client's key"),
    Command("server usage", "server_usage", "show how much each client stores"),
    Command("server prune", "server_prune", "delete clients' old archives by retention rules"),
    Command("server compact", "server_compact", "free the space of what was deleted, without a key"),
    Command("server verify", "server_verify", "verify what clients store, without a key"),
    Command("serve", "serve", "serve repositories to a client, over ssh"),
    Command("version", "version", "show the versions of this program and of the server's"),
    Command("install-borg-alias", "install_borg_alias", "answer to the name borg, too"),
    Command("debug info", "debug", "show facts about this machine and program"),
    Command("debug dump-archive", "debug", "write what an archive holds as JSON lines"),
    Command("debug dump-archive-items", "debug", "print the items of an archive as JSON lines"),
    Command("debug dump-manifest", "debug", "write the records of the log as JSON lines"),
    Command("debug id-hash", "debug", "print the id that a file would have as one chunk"),
    Command("debug get-obj", "debug", "write the contents of a chunk"),
    Command("debug convert-profile", "debug", "copy a profile that --debug-profile wrote"),
    Command("debug refcount-obj", "debug", "an error: says what else there is"),
    Command("debug search-repo-objs", "debug", "an error: says what else there is"),
    Command("debug dump-repo-objs", "debug", "an error: says what else there is"),
    Command("debug dump-hints", "debug", "an error: says what else there is"),
    Command("debug put-obj", "debug", "an error: says what else there is"),
    Command("debug delete-obj", "debug", "an error: says what else there is"),
    Command("help", "help", "explain patterns, placeholders, compression and more"),
    Command("completion", "completion", "print a completion script for a shell"),
)
