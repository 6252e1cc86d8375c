"""The page's server: looks are answered from what is ready, presses are checked and carried out.

Each viewer asks for the next image or the next state when it has drawn the last: nothing is
pushed, so that a slow browser, or one that never reads, costs no more than one answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vla_ros.operator.console.access import MOST_BODY_BYTES, AccessRules, Viewers
from vla_ros.operator.console.actions import ACTIONS, Who, person
from vla_ros.operator.console.connections import BACKLOG, limited_protocol, raise_file_limit

if TYPE_CHECKING:
    from vla_ros.operator.console.cameras import CameraFeed

HERE = Path(__file__).resolve().parent
PAGES = {
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/token.js": ("token.js", "text/javascript"),
}
NEEDED = ("starlette", "uvicorn")
SECURITY = {
    # nothing from elsewhere, and no foreign page around this one, under whose buttons ours lie
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
ANSWER_WITHIN_S = 10.0  # to a client that does not read on
SENT_WITHIN_S = 0.1  # a stop, or the page says that it was not sent
DAY_S = 86400


class Backend(Protocol):
    """What the server needs of the node; called from the server's threads."""

    viewers: Viewers
    feeds: Mapping[str, CameraFeed]

    def state_json(self, known: str) -> bytes: ...

    def plot_json(self) -> bytes: ...

    def press_stop(self, who: Who) -> int: ...

    def stop_outcome(self, number: int) -> str | None: ...

    def perform(self, action: str, who: Who, text: str, key: str) -> dict[str, Any]: ...


def missing_libraries() -> str:
    """What is to be installed, as a sentence; empty: all is there."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return ""
    return (
        f"the console needs {' and '.join(missing)}, which this Python does not have: "
        f"python3 -m pip install {' '.join(NEEDED)}"
    )


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0: any free one.

    Raises:
        ValueError: It cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as problem:
        raise ValueError(f"console_host '{host}' is no address here: {problem}") from None
    try:
        # the port of a console that was killed a moment ago is still half in use
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as problem:
        listener.close()
        raise ValueError(
            f"the console cannot listen at {host}:{port}: {problem.strerror}; "
            "give another console_port, 0 for any that is free"
        ) from None
    return listener


def free_port(preferred: int) -> int:
    """`preferred` on the loopback, or any that is free."""
    for port in (preferred, 0):
        try:
            listener = listening_socket("127.0.0.1", port)
        except ValueError:
            continue
        with listener:
            return int(listener.getsockname()[1])
    raise ValueError("no port is free on 127.0.0.1")


class ConsoleServer:
    """Runs in a thread of its own.

    Args:
        backend: answers.
        access: says who may ask.
        listener: listening_socket's.
    """

    def __init__(self, backend: Backend, access: AccessRules, listener: socket.socket) -> None:
        import uvicorn

        config = uvicorn.Config(
            make_app(backend, access),
            http=limited_protocol(raise_file_limit()),
            backlog=BACKLOG,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",  # nothing is pushed
            timeout_keep_alive=30,  # a page that is looked at again need not connect anew
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        self._listener = listener
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._server.run(sockets=[self._listener])

    def end(self) -> None:
        """Stops listening; a client that holds on is left."""
        self._server.should_exit = True
        self._thread.join(timeout=3.0)
        self._listener.close()


def make_app(backend: Backend, access: AccessRules) -> Any:
    """The ASGI application."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    def sentence(status: int, text: str) -> Response:
        body = json.dumps({"done": status == 200, "sentence": text})
        return Response(body, status, media_type="application/json")

    def who_asks(request: Request, name: object = None) -> Who:
        address = request.client.host if request.client else "?"
        return person(request.query_params.get("name", "") if name is None else name, address)

    async def page(request: Request) -> Response:
        known = access.knows(request.cookies.get(access.cookie_name, ""))
        name = "page.html" if known else "token.html"
        return Response((HERE / name).read_text(encoding="utf-8"), media_type="text/html")

    async def file(request: Request) -> Response:
        name, kind = PAGES[request.url.path]
        return Response((HERE / name).read_text(encoding="utf-8"), media_type=kind)

    async def token(request: Request) -> Response:
        # not in the address, which a browser keeps and another site's page can ask for
        problem = access.problem_of_action(request.headers)
        if problem:
            return sentence(403, problem)
        try:
            shown = (await read_body(request)).get("token", "")
        except ValueError as error:
            return sentence(400, str(error))
        address = request.client.host if request.client else "?"
        problem = access.problem_of_token(str(shown), address)
        if problem:
            return sentence(403, problem)
        answer = sentence(200, "")
        answer.set_cookie(
            access.cookie_name, access.cookie, max_age=30 * DAY_S, httponly=True, samesite="strict"
        )
        return answer

    async def state(request: Request) -> Response:
        viewer = request.query_params.get("viewer", "")
        problem = backend.viewers.admit(viewer, str(who_asks(request)), time.monotonic())
        if problem:
            return sentence(503, problem)
        known = request.query_params.get("more", "")
        return Response(backend.state_json(known), media_type="application/json")

    async def plot(request: Request) -> Response:
        return Response(backend.plot_json(), media_type="application/json")

    async def image(request: Request) -> Response:
        name = request.path_params["camera"]
        feed = backend.feeds.get(name)
        if feed is None:
            return sentence(404, f"there is no camera '{name[:100]}'")
        if not backend.viewers.knows(request.query_params.get("viewer", "")):
            return sentence(503, "this page is not shown anything")
        # decoding takes milliseconds, in which a stop must not wait
        if feed.due():
            await run_in_threadpool(feed.refresh)
        newest = feed.newest()
        # nothing newer: the page has drawn this one
        if newest is None or str(newest.sequence) == request.query_params.get("after"):
            return Response(status_code=204)
        headers = {
            "X-Sequence": str(newest.sequence),
            "X-Age": f"{time.monotonic() - newest.taken:.2f}",
        }
        return Response(newest.jpeg, media_type="image/jpeg", headers=headers)

    async def press(request: Request) -> Response:
        problem = access.problem_of_action(request.headers)
        if problem:
            return sentence(403, problem)
        action = request.path_params["action"]
        if action == "stop":
            # Before the body is read and judged: a stop needs no words, only the right to press.
            problem = await outcome(backend.press_stop(who_asks(request)))
            return sentence(503, problem) if problem else sentence(200, "STOP is sent")
        try:
            data = await read_body(request)
        except ValueError as error:
            return sentence(413 if "bytes" in str(error) else 400, str(error))
        if action not in ACTIONS:
            known = ", ".join(ACTIONS)
            return sentence(404, f"there is no button '{action[:100]}'; known are stop, {known}")
        who = who_asks(request, data.get("name", ""))
        text = data.get("text", "")
        key = data.get("key", "")
        if not isinstance(text, str) or not isinstance(key, str):
            return sentence(400, "text and key are texts")
        answer = await run_in_threadpool(backend.perform, action, who, text, key)
        return Response(json.dumps(answer), media_type="application/json")

    async def outcome(press: int) -> str:
        """Why a stop was not sent; empty: it was. No thread waits: those may all be busy."""
        end = time.monotonic() + SENT_WITHIN_S
        while (problem := backend.stop_outcome(press)) is None:
            if time.monotonic() > end:
                return f"it was not published within {SENT_WITHIN_S:g} s"
            await asyncio.sleep(0.002)
        return problem

    async def read_body(request: Request) -> dict[str, Any]:
        """Raises ValueError for what is too large, before it is all here, or no JSON object."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY_BYTES:
                raise ValueError(
                    f"the request has more than {MOST_BODY_BYTES} bytes, which no sentence has; "
                    "say it in fewer words"
                )
        try:
            data = json.loads(body)
            if isinstance(data, dict):
                json.dumps(data, ensure_ascii=False).encode()
                return data
        except (ValueError, RecursionError):  # no JSON, no UTF-8, half a character
            pass
        raise ValueError("the request is no JSON object")

    routes = [
        Route("/", page),
        *(Route(path, file) for path in PAGES),
        Route("/token", token, methods=["POST"]),
        Route("/state", state),
        Route("/plot", plot),
        Route("/image/{camera}", image),
        Route("/do/{action}", press, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    return guarded(app, access, {"/", "/token", *PAGES})


def guarded(app: Any, access: AccessRules, public: set[str]) -> Callable[..., Awaitable[None]]:
    """The application behind what every request must be like.

    Args:
        app: an ASGI application.
        access: says who may ask.
        public: paths that who has not shown the token sees.
    """
    from starlette.datastructures import MutableHeaders
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)

        async def send_safely(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers[name] = value
            await send(message)

        problem = access.problem_of_host(request.headers.get("host", ""))
        cookie = request.cookies.get(access.cookie_name, "")
        foreign = "" if scope["path"] == "/" else access.problem_of_site(request.headers)
        if problem:
            await PlainTextResponse(problem, 421)(scope, receive, send_safely)
        elif foreign:
            await PlainTextResponse(foreign, 403)(scope, receive, send_safely)
        elif scope["path"] not in public and not access.knows(cookie):
            problem = "show the token first: open the page anew"
            await PlainTextResponse(problem, 403)(scope, receive, send_safely)
        else:
            try:
                await asyncio.wait_for(app(scope, receive, send_safely), ANSWER_WITHIN_S)
            except asyncio.TimeoutError:
                return  # a client that does not read on; uvicorn closes its connection

    return answer
