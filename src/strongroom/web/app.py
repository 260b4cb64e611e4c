"""The server's one application: from a request to the handler that answers it.

Everything but GET, HEAD and what WebDAV needs is refused; nothing here can change an archive.
"""

import asyncio
from concurrent.futures import Executor
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import Message, Receive, Scope, Send

from strongroom.errors import Damaged, StrongroomError
from strongroom.reporting import Notice, Reporter
from strongroom.web import dav, downloads, pages, timepages
from strongroom.web.asking import Answer, Ask, Handler, query_of, take_apart
from strongroom.web.gate import ALWAYS, Gate
from strongroom.web.library import Library
from strongroom.web.pouring import Poured

_READ = "GET, HEAD"
_MOST_BODY = 64 * 1024
_STYLE = Path(__file__).with_name("style.css").read_bytes()

ROUTES: dict[str, Handler] = {
    "": pages.front,
    "files": pages.place,
    "download": downloads.download,
    "picture": downloads.picture,
    "tar": downloads.tar_folder,
    "zip": downloads.zip_folder,
    "versions": timepages.versions,
    "search": timepages.search,
    "compare": timepages.compare,
}


class Application:
    """ASGI. `pool` runs the handlers; `reporter` is told of damage, and of what should not happen."""

    def __init__(self, library: Library, gate: Gate, pool: Executor, reporter: Reporter) -> None:
        self._library = library
        self._gate = gate
        self._pool = pool
        self._reporter = reporter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("This server speaks HTTP alone.")
        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                have = {name.lower() for name, _ in message["headers"]}
                more = [(name.lower().encode(), value.encode()) for name, value in ALWAYS.items()]
                message["headers"] = [*message["headers"], *(one for one in more if one[0] not in have)]
            await send(message)

        request = Request(scope, receive)
        try:
            answer = await self._admit(request)
            await self._send(answer, scope, receive, guarded)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001  # whatever one request meets, the others go on
            if begun:
                self._tell(error)
                raise Broken from None  # the connection ends in the middle: a part is not taken for the whole
            await self._send(self._failure(request, error), scope, receive, guarded)

    async def _send(self, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(answer, Poured):
            await answer.send_to(scope, receive, send, self._pool)
        else:
            await answer(scope, receive, send)

    async def _admit(self, request: Request) -> Answer:
        """Raises `HTTPException`, and what handlers raise."""
        gate = self._gate
        if not gate.knows_host(request.headers):
            return PlainTextResponse("This server does not go by that name.\n", 421)
        address = take_apart(request.scope.get("raw_path") or b"/")
        if address.route == "dav":
            return await self._dav(request)
        if request.method not in ("GET", "HEAD"):
            raise HTTPException(405, "Archives are only read here.", {"Allow": _READ})
        if address.route == "style.css" and not address.parts:
            return Response(_STYLE, media_type="text/css")
        query = query_of(request)
        if "token" in query:
            return self._let_in(request, query["token"])
        if not gate.has_cookie(request):
            return pages.locked()
        handler = ROUTES.get(address.route)
        if handler is None:
            raise HTTPException(404)
        ask = Ask(self._library, request.method, address, query, request.headers)
        return await self._run(handler, ask)

    def _let_in(self, request: Request, token: str) -> Answer:
        if not self._gate.is_token(token):
            return pages.locked(wrong=True)
        answer = RedirectResponse("/", 303)
        name = self._gate.cookie_name(request)
        answer.set_cookie(name, self._gate.session, httponly=True, samesite="strict")
        return answer

    async def _dav(self, request: Request) -> Answer:
        if request.method not in dav.METHODS:
            raise HTTPException(405, "Archives are only read here.", {"Allow": dav.ALLOW})
        if not self._gate.has_password(request.headers):
            return PlainTextResponse(
                "The token is the password.\n", 401, {"WWW-Authenticate": 'Basic realm="strongroom"'}
            )
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > _MOST_BODY:
                raise HTTPException(413)
        address = take_apart(request.scope.get("raw_path") or b"/")
        ask = Ask(self._library, request.method, address, {}, request.headers, bytes(body))
        return await self._run(dav.METHODS[request.method], ask)

    async def _run(self, handler: Handler, ask: Ask) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pool, handler, ask)

    def _failure(self, request: Request, error: Exception) -> Response:
        match error:
            case HTTPException():
                return pages.failed(error.status_code, error.detail, error.headers)
            case FileNotFoundError() | NotADirectoryError():
                return pages.failed(404)
        self._tell(error)
        if isinstance(error, Damaged):
            return pages.failed(500, f"This cannot be shown, since it is damaged: {error}")
        if isinstance(error, StrongroomError):
            return pages.failed(502, str(error))
        return pages.failed(500)

    def _tell(self, error: Exception) -> None:
        words = str(error) if isinstance(error, StrongroomError) else f"Internal error: {error!r}"
        self._reporter.warn(Notice(words, getattr(error, "msgid", "Error")))


class Broken(Exception):
    """An answer that cannot be finished; its reason was told. The server closes the connection."""
