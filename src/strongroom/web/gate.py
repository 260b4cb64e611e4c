"""Who may come in, and what stands around every answer.

A request must name this machine as its host: a page elsewhere whose name was made to lead here (DNS
rebinding) names its own. It must show the token: a browser once, in the address or a form, and gets a
cookie for it; a WebDAV program with every request, as the password of Basic authentication.
"""

import base64
import binascii
import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import Request

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
CONTENT_POLICY = "default-src 'none'; sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For bytes that somebody else chose: nothing in them may act."""

ALWAYS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""On every answer; a handler may set another policy."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True)
class Gate:
    """`listen` is the address that the server is bound to."""

    listen: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    # another secret than the token: browsers send cookies to every server of this host, whatever its port
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def knows_host(self, headers: Headers) -> bool:
        """A loopback name or the address listened on; any address where all are listened on.

        The port does not count: `ssh -L` gives another one.
        """
        given = headers.getlist("host")
        if len(given) != 1:
            return False
        host = given[0].strip().lower()
        if host.endswith("]"):
            name = host
        else:
            name, colon, port = host.rpartition(":")
            if not colon:
                name = host
            elif not (port.isascii() and port.isdecimal()):
                return False
        if name in _LOOPBACK or name.strip("[]") == self.listen.lower():
            return True
        return not is_loopback(self.listen) and _address(name) is not None

    def is_token(self, given: str) -> bool:
        return _same(given, self.token)

    def has_cookie(self, request: Request) -> bool:
        return _same(request.cookies.get(self.cookie_name(request), ""), self.session)

    def has_password(self, headers: Headers) -> bool:
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            words = base64.b64decode(rest.strip(), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return False
        return _same(words.partition(":")[2], self.token)

    def cookie_name(self, request: Request) -> str:
        """By port, so that two servers on one machine do not take each other's place."""
        return f"strongroom-{request.url.port or 80}"


def is_loopback(listen: str) -> bool:
    address = _address(listen)
    return address.is_loopback if address is not None else listen.lower() == "localhost"


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())
