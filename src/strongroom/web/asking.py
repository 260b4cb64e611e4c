"""A request, taken apart into what handlers look at."""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from strongroom.web.library import Library
from strongroom.web.pouring import Poured

Answer = Response | Poured
_FORBIDDEN = frozenset({b".", b".."})


class Address(NamedTuple):
    """`/route/part/part`, the parts as bytes; a slash at the end makes a folder of it."""

    route: str
    parts: tuple[bytes, ...]


def take_apart(raw: bytes) -> Address:
    """A path as it stands in the request. Raises `HTTPException` for what can lead nowhere."""
    parts = []
    for piece in raw.partition(b"?")[0].split(b"/"):
        part = unquote_to_bytes(piece)
        # `..%2f`: after decoding, a part is still one part or it is nothing
        if part in _FORBIDDEN or b"/" in part or b"\0" in part:
            raise HTTPException(404)
        if part:
            parts.append(part)
    route, *rest = parts or [b""]
    return Address(route.decode("ascii", "replace"), tuple(rest))


class Ask(msgspec.Struct, frozen=True):
    """What a handler is given."""

    library: Library
    method: str
    address: Address
    query: dict[str, str]
    headers: Headers
    body: bytes = b""

    @property
    def parts(self) -> tuple[bytes, ...]:
        return self.address.parts

    def number(self, name: str) -> int:
        """Of the query; 0 if it is none."""
        text = self.query.get(name, "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


Handler = Callable[[Ask], Answer]
"""Raises `HTTPException`, FileNotFoundError, NotADirectoryError, `Damaged`, and the store's errors."""


def query_of(request: Request) -> dict[str, str]:
    """The first value of each name; bytes that are no UTF-8 as os.fsdecode keeps them."""
    try:
        found = parse_qs(
            request.scope["query_string"].decode("latin-1"), errors="surrogateescape", max_num_fields=20
        )
    except ValueError:
        raise HTTPException(400, "The address has too many parameters.") from None
    return {name: values[0] for name, values in found.items()}
