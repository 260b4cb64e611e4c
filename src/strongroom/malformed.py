"""What decoding a stranger's bytes with msgspec can raise.

Text that is no UTF-8 and nesting without end raise errors of Python's own, beside msgspec's.
"""

import msgspec

MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
