"""Who may look and who may press: hosts, origins, the token, and how many viewers."""

from __future__ import annotations

import hmac
import ipaddress
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

MIN_TOKEN_CHARACTERS = 12
MOST_BODY_BYTES = 16_384  # the longest sentence, each character of it as \uXXXX twice
WRONG_TOKENS_A_MINUTE = 10
VIEWER_FOR_S = 5.0  # after the last question; an open page asks several times a second
HEADER = "x-vla-console"  # a foreign page cannot send it without asking first, and is not answered


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: str, host: str) -> str:
    """The token that opens the page; empty: none is asked for.

    Args:
        path: Of a file whose first line it is; empty: no token.
        host: Where the server listens.

    Raises:
        ValueError: The file cannot be read, the token is short, or `host` is open without one.
    """
    if not path:
        if is_loopback(host):
            return ""
        raise ValueError(
            f"console_host is '{host}', which other machines reach: give token_file, a file whose "
            "first line is a secret; or leave console_host at 127.0.0.1 and go through "
            "'ssh -L 8080:127.0.0.1:8080 ROBOT'"
        )
    try:
        token = Path(path).expanduser().read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"token_file '{path}' cannot be read: {problem}") from None
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise ValueError(
            f"the token in '{path}' has {len(token)} characters; give {MIN_TOKEN_CHARACTERS} or "
            "more: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


class AccessRules:
    """What a request must be like to be answered.

    A page of somebody else's, open in the same browser, can send requests here. It cannot read the
    answers, cannot set HEADER, and does not come from our own origin. A name that its owner points
    at this machine (DNS rebinding) is no name of this machine.

    Args:
        token: read_token's.
        host: where the server listens.
        clock: steady s.
    """

    def __init__(self, token: str, host: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._names = {"localhost", host.lower(), *_own_names()}
        self._clock = clock
        self._wrong: deque[tuple[float, str]] = deque(maxlen=1000)  # when, and from where
        # The same after a restart, so that nobody has to type it again, and not the token itself.
        self.cookie = hmac.new(_bytes(token), b"vla console", sha256).hexdigest()
        # Browsers do not tell ports apart: two robots behind ssh are two tokens on one host.
        self.cookie_name = f"vla_console_{self.cookie[:8]}"

    @property
    def token_wanted(self) -> bool:
        return bool(self._token)

    def problem_of_host(self, host: str) -> str:
        """Why a request to this Host is not answered; empty: it is."""
        name = host
        try:
            name = urlsplit(f"//{host}").hostname or ""
            ipaddress.ip_address(name)
            return ""  # nobody can point an address elsewhere
        except ValueError:  # it is a name, or nothing at all
            if name in self._names:
                return ""
        return f"'{name[:100]}' is no name of this machine; use its address, or localhost"

    def problem_of_action(self, headers: Mapping[str, str]) -> str:
        """Why a request that does something is not carried out; empty: it is."""
        if HEADER not in headers:
            return f"the header {HEADER} is missing; only the console's own page sends it"
        origin = headers.get("origin", "")
        if origin and urlsplit(origin).netloc != headers.get("host", ""):
            return f"a page of {origin[:100]} may not press buttons here"
        return self.problem_of_site(headers)

    def problem_of_site(self, headers: Mapping[str, str]) -> str:
        """Why a request is not answered that another site's page makes; empty: it is.

        It could not read the answer, but it could take the viewers' places.
        """
        if headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none"):
            return ""
        return "another site's page may not press buttons here, nor look"

    def knows(self, cookie: str) -> bool:
        """Whether the browser has shown the token before."""
        return not self._token or hmac.compare_digest(_bytes(cookie), _bytes(self.cookie))

    def problem_of_token(self, token: str, address: str) -> str:
        """Why this token, from this address, does not open the page; empty: it does."""
        # first, and at any time: no stranger's guesses may keep the operator out
        if hmac.compare_digest(_bytes(token), _bytes(self._token)):
            return ""
        now = self._clock()
        wrong = 0
        for when, other in self._wrong:
            wrong += other == address and now - when < 60.0
        if wrong >= WRONG_TOKENS_A_MINUTE:
            return f"{wrong} wrong tokens came from {address} within a minute; wait a minute"
        self._wrong.append((now, address))
        return "this is not the token; it is the first line of the console's token_file"


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")  # half a character comes from no keyboard


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name.partition('.')[0]}.local"}


class Viewers:
    """The pages that look, and no more than `most` of them. Times are steady s."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[str, tuple[float, str]] = {}  # viewer -> when last, and who it is

    def admit(self, viewer: str, who: str, now: float) -> str:
        """Why this page is shown nothing; empty: it is. The stop does not ask."""
        for other, (seen, _) in list(self._seen.items()):
            if now - seen > VIEWER_FOR_S:
                del self._seen[other]
        viewer = viewer[:40]
        if viewer not in self._seen and len(self._seen) >= self._most:
            return (
                f"{len(self._seen)} pages look at this robot already (max_viewers); close one. "
                "STOP works from this page too"
            )
        self._seen[viewer] = now, who
        return ""

    def knows(self, viewer: str) -> bool:
        """Whether it was admitted."""
        return viewer[:40] in self._seen

    def names(self, now: float) -> list[str]:
        """Who looks now."""
        return [who for seen, who in list(self._seen.values()) if now - seen <= VIEWER_FOR_S]
