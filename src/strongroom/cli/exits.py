"""Exit codes: Borg's classes, and how several conditions become one code.

0 success · 1 and 100..127 warning · 2 and 3..99 error · 128..255 signal. The specific codes are
used with `STRONGROOM_EXIT_CODES=modern`; otherwise all warnings are 1 and all errors 2.
"""

from collections.abc import Iterable

SUCCESS = 0
WARNING = 1
ERROR = 2
SIGNAL_BASE = 128


def classify(code: int) -> str:
    """ "success", "warning", "error", "signal", or "abnormal" for what is no exit code of ours."""
    if code == SUCCESS:
        return "success"
    if SIGNAL_BASE <= code <= 255:
        return "signal"
    if code == WARNING or 100 <= code < SIGNAL_BASE:
        return "warning"
    if 2 <= code < 100:
        return "error"
    return "abnormal"


def error_code(specific: int, *, modern: bool) -> int:
    return specific if modern else ERROR


def warning_code(codes: Iterable[int], *, modern: bool) -> int:
    """The code of a run that ended with these warnings: the one kind there is, or the generic one."""
    kinds = set(codes)
    if not kinds:
        return SUCCESS
    return kinds.pop() if modern and len(kinds) == 1 else WARNING


def return_code_line(code: int) -> tuple[str, str]:
    """What `--show-rc` logs: (level, line)."""
    kind = classify(code)
    level = {"success": "info", "warning": "warning"}.get(kind, "error")
    return level, f"terminating with {kind} status, rc {code}"
