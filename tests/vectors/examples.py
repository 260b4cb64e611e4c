"""The examples of docs/format.md: a comment names a vector, the block behind it shows its bytes.

`<!-- example: pack.bytes 0 64 -->` stands for bytes 0 to 63 of the vector, as `hexdump -C` shows them;
a vector that is text is shown as it is.
"""

import re
from typing import Any

_BLOCK = re.compile(
    r"<!-- example: (?P<path>\S+)(?: (?P<start>-?\d+) (?P<end>-?\d+))? -->\n```text\n(?P<text>.*?)```",
    re.DOTALL,
)


def updated(page: str, vectors: dict[str, Any]) -> str:
    """The page with every example made from the vectors."""

    def block(found: re.Match[str]) -> str:
        whole = found[0]
        return whole[: found.start("text") - found.start()] + _shown(found, vectors) + "```"

    return _BLOCK.sub(block, page)


def count(page: str) -> int:
    return len(_BLOCK.findall(page))


def _shown(found: re.Match[str], vectors: dict[str, Any]) -> str:
    value: Any = vectors
    for step in found["path"].split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    text = str(value)
    if not re.fullmatch(r"(?:[0-9a-f]{2})+", text) or found["start"] is None:
        return text.rstrip("\n") + "\n"
    data = bytes.fromhex(text)
    start, end = int(found["start"]) % len(data), int(found["end"]) or len(data)
    return hexdump(data[start:end], start)


def hexdump(data: bytes, start: int = 0) -> str:
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start + at:08x}  {left:<23}  {right:<23}  |{shown}|\n")
    return "".join(lines)
