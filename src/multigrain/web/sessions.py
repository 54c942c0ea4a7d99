"""Who may ask: the token in a header, or a cookie that was given for it and whose session was not ended."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from multigrain.web.ended_sessions import EndedSessions

COOKIE = "multigrain_session"
SESSION_SECONDS = 7 * 24 * 3600


class Sessions:
    """Checks tokens and makes cookies; a cookie carries a time, a random name and a signature made with the token, never the token.

    Args:
        token: of the server.
        ended: sessions that were ended before their time; None for a memory of this process alone.
    """

    def __init__(self, token: str, ended: EndedSessions | None = None) -> None:
        self._token = token.encode()
        self._ended = ended or EndedSessions(None)

    def is_token(self, given: str) -> bool:
        """Whether it is the server's token, in a time that tells nothing about it."""
        return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(self._token).digest())

    def new_cookie(self, *, is_secure: bool) -> str:
        """The value of a Set-Cookie header."""
        session = f"{int((time.time() + SESSION_SECONDS) * 1000)}.{secrets.token_hex(16)}"
        secure = "; Secure" if is_secure else ""
        return f"{COOKIE}={session}.{self._signature(session)}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_SECONDS}{secure}"

    def is_allowed(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries the token or the cookie of a session that is still good."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_token(token.strip())
        return self._session(headers) is not None

    def end(self, headers: Mapping[str, str]) -> None:
        """Ends the session of the request's cookie: the cookie opens nothing any more, whoever has a copy."""
        session = self._session(headers)
        if session is not None:
            expires, _, name = session.partition(".")
            self._ended.add(name, int(expires) / 1000)

    def end_all(self) -> None:
        """Ends every session that was begun until now."""
        self._ended.add_all(time.time() + SESSION_SECONDS)

    def _session(self, headers: Mapping[str, str]) -> str | None:
        """Time and name of the cookie's session, where it is one of ours and still good."""
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        session, _, signature = cookie.value.rpartition(".") if cookie else ("", "", "")
        if not hmac.compare_digest(signature.encode(), self._signature(session).encode()):
            return None
        expires, _, name = session.partition(".")
        is_good = int(expires) / 1000 > time.time() and not self._ended.has(name, int(expires) / 1000)  # ours by the signature, so these are digits
        return session if is_good else None

    def _signature(self, session: str) -> str:
        return hmac.new(self._token, f"multigrain session {session}".encode(), hashlib.sha256).hexdigest()


END_COOKIE = f"{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
