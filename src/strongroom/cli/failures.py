"""From an exception to one sentence, Borg's message id, and the exit code."""

import errno
import os
import sys
from typing import NamedTuple

from strongroom import __version__
from strongroom.cli.exits import ERROR, SIGNAL_BASE, error_code
from strongroom.cli.signals import Interrupted
from strongroom.errors import StoreFull, StrongroomError

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Failure(NamedTuple):
    sentence: str
    msgid: str
    code: int
    is_bug: bool = False


def explain(error: BaseException, *, modern: bool) -> Failure:
    match error:
        case Interrupted():
            return Failure(f"Stopped by {error.name}.", f"Signal.{error.name}", SIGNAL_BASE + error.number)
        case KeyboardInterrupt():
            return Failure("Stopped by SIGINT.", "Signal.SIGINT", SIGNAL_BASE + 2)
        case StrongroomError():
            sentence = str(error) or type(error).__doc__ or type(error).__name__
            return Failure(sentence, error.msgid, error_code(error.code, modern=modern))
        case OSError():
            full = error.errno in _FULL
            code = error_code(StoreFull.code, modern=modern) if full else ERROR
            return Failure(_system_error(error), StoreFull.msgid if full else type(error).__name__, code)
        case MemoryError():
            return Failure("The machine has no memory left for this.", "MemoryError", ERROR)
    # an ExceptionGroup of a worker pool: its first member is the cause
    if isinstance(error, BaseExceptionGroup) and error.exceptions:
        return explain(error.exceptions[0], modern=modern)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Failure(
        f"Internal error: {text}. This is a bug in strongroom: please report it, with what the same command "
        "prints with --debug added.",
        "Exception",
        ERROR,
        is_bug=True,
    )


def _system_error(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    sentence = f"{' -> '.join(names)}: {what}." if names else f"{what}."
    if error.errno in _FULL:
        sentence += " Free some space, then run the same command again."
    return sentence


def details(error: BaseException, *, sysinfo: bool) -> str:
    """The traceback, and what a bug report needs to say of the machine."""
    import platform
    import traceback

    text = "".join(traceback.format_exception(error)).rstrip()
    if sysinfo:
        text += (
            f"\n\nPlatform: {platform.platform()}\nstrongroom: {__version__}\n"
            f"Python: {platform.python_implementation()} {platform.python_version()}\n"
            f"Arguments: {sys.argv[1:]!r}"
        )
    return text
