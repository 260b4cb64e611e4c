"""What a file system keeps beside a file's content, read and put back with the kernel's own calls.

Linux is served fully; elsewhere what Python offers is used and the rest counts as not supported.
Nothing here follows a symlink in the last component of a name, and nothing looks a name up twice:
objects are held by descriptors, `O_PATH` ones for links and nodes (see `pinning`).
"""

from strongroom.archive.platform.flags import is_nodump
from strongroom.archive.platform.nodes import make_node
from strongroom.archive.platform.owners import Owners
from strongroom.archive.platform.pinning import path_at, pin
from strongroom.archive.platform.reading import Extended, PartlyRead, read_extended
from strongroom.archive.platform.restoring import restore_attributes, restore_flags
from strongroom.archive.platform.sparse import data_extents, may_have_holes, write_sparse

__all__ = [
    "Extended",
    "Owners",
    "PartlyRead",
    "data_extents",
    "is_nodump",
    "make_node",
    "may_have_holes",
    "path_at",
    "pin",
    "read_extended",
    "restore_attributes",
    "restore_flags",
    "write_sparse",
]
