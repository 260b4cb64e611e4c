"""The one exception tree.

Every error says what happened, to which object, and what to do next. `msgid` is the name
that Borg's `--log-json` gives the same condition, `code` is Borg's "modern" exit code; both
are interface. Errors are raised where the facts are known and caught once, in `cli`.
"""


class StrongroomError(Exception):
    """What every error of ours derives from; `str(error)` is the sentence for the user."""

    msgid = "Error"
    code = 2


class CommandError(StrongroomError):
    """The command line asks for something impossible."""

    msgid = "CommandError"
    code = 4


class Cancelled(StrongroomError):
    """The user said no, or interrupted."""

    msgid = "CancelledByUser"
    code = 3


class PlaceholderError(StrongroomError):
    msgid = "PlaceholderError"
    code = 5


class InvalidPlaceholder(PlaceholderError):
    msgid = "InvalidPlaceholder"
    code = 6


# --- stores ---


class StoreError(StrongroomError):
    """Something about the place where the repository lives."""


class ObjectMissing(StoreError):
    msgid = "Repository.ObjectNotFound"
    code = 17


class ObjectExists(StoreError):
    """`put` found the name taken; never shown to users unless something is wrong."""


class StoreRefused(StoreError):
    """Permissions or policy forbid it: Borg, whose first step is its lock, tells that so."""

    msgid = "LockFailed"
    code = 72


class PlaceRefused(StoreRefused):
    """No repository may be made there."""

    msgid = "Repository.PathPermissionDenied"
    code = 21


class StoreFull(StoreError):
    msgid = "Repository.InsufficientFreeSpaceError"
    code = 14


class QuotaExceeded(StoreError):
    msgid = "Repository.StorageQuotaExceeded"
    code = 20


class StoreFailed(StoreError):
    """An I/O error that is neither missing, full nor forbidden."""


class ConnectionLost(StoreError):
    msgid = "ConnectionClosedWithHint"
    code = 81


class ConnectionBroken(StoreError):
    """The other side does not speak our protocol."""

    msgid = "ConnectionBrokenWithHint"
    code = 87


class PathNotAllowed(StoreError):
    msgid = "PathNotAllowed"
    code = 83


# --- repositories ---


class RepositoryMissing(StrongroomError):
    msgid = "Repository.DoesNotExist"
    code = 13


class RepositoryExists(StrongroomError):
    msgid = "Repository.AlreadyExists"
    code = 10


class NotARepository(StrongroomError):
    msgid = "Repository.InvalidRepository"
    code = 15


class ParentPathMissing(StrongroomError):
    msgid = "Repository.ParentPathDoesNotExist"
    code = 18


class PathOccupied(StrongroomError):
    """Something that is no repository is where one should be made."""

    msgid = "Repository.PathAlreadyExists"
    code = 19


class VersionUnknown(StrongroomError):
    """A version byte of a future format."""

    msgid = "UnsupportedPayloadError"
    code = 48


class Damaged(StrongroomError):
    """Bytes that are not what their name, signature or checksum says."""

    msgid = "IntegrityError"
    code = 90


class PackDamaged(Damaged):
    pass


class ChunkMissing(Damaged):
    """No pack holds a chunk that an archive uses."""


class LogBroken(Damaged):
    """The log does not continue itself: a record is forged, missing or out of place."""


class LogRolledBack(StrongroomError):
    """The log ends before, or parts from, the newest head that this machine has seen."""

    msgid = "Cache.RepositoryReplay"
    code = 64


class AuditFailed(StrongroomError):
    """`audit` found tampering or loss; its report says what."""

    msgid = "Audit.Failed"


class NotAReplica(StrongroomError):
    """Two places that should hold one repository hold two."""

    msgid = "NotAReplica"


class LockTimeout(StrongroomError):
    msgid = "LockTimeout"
    code = 73


class CacheUnusable(StrongroomError):
    msgid = "Cache.CacheInitAbortedError"
    code = 60


class CacheFull(CacheUnusable):
    """This machine has no room to remember what it saw of the repository."""


class CacheDamaged(CacheUnusable):
    """A value of this machine's cache is not what was written."""


class AccessAborted(StrongroomError):
    """The user declined to trust an unknown or moved repository."""

    msgid = "Cache.RepositoryAccessAborted"
    code = 62


class StrangerDeclined(AccessAborted):
    """The user declined to trust an unencrypted repository that this machine did not know."""

    msgid = "Cache.CacheInitAbortedError"
    code = 60


class EncryptionChanged(StrongroomError):
    """An unencrypted repository lies where an encrypted one was."""

    msgid = "Cache.EncryptionMethodMismatch"
    code = 61


# --- archives ---


class ArchiveExists(StrongroomError):
    msgid = "Archive.AlreadyExists"
    code = 30


class ArchiveMissing(StrongroomError):
    msgid = "Archive.DoesNotExist"
    code = 31


class AclInvalid(StrongroomError):
    """A POSIX access control list that cannot be read, or that no file can have."""


class MountFailed(StrongroomError):
    """A mount cannot be made, or not be undone."""

    msgid = "RTError"


class BrowseFailed(StrongroomError):
    """Archives cannot be shown over HTTP."""

    msgid = "RTError"


class NodeRefused(StrongroomError):
    """A device, link or FIFO that cannot be made from its entry, or not by this user."""


# --- keys ---


class KeyProblem(StrongroomError):
    """Something about keys."""


class KeyMissing(KeyProblem):
    msgid = "KeyfileNotFoundError"
    code = 42


class RepoKeyMissing(KeyProblem):
    msgid = "RepoKeyNotFoundError"
    code = 44


class KeyInvalid(KeyProblem):
    msgid = "KeyfileInvalidError"
    code = 40


class KeyForeign(KeyProblem):
    """The key belongs to another repository."""

    msgid = "RepoIdMismatch"
    code = 45


class NotAKeyBackup(KeyProblem):
    msgid = "NotABorgKeyFile"
    code = 43


class RoleInsufficient(KeyProblem):
    """The key's role does not allow what was asked: a backup key cannot open."""


class NoPassphrase(KeyProblem):
    msgid = "NoPassphraseFailure"
    code = 50


class PasscommandFailed(KeyProblem):
    msgid = "PasscommandFailure"
    code = 51


class PassphraseWrong(KeyProblem):
    msgid = "PassphraseWrong"
    code = 52


class PassphraseTriesExceeded(KeyProblem):
    msgid = "PasswordRetriesExceeded"
    code = 53
