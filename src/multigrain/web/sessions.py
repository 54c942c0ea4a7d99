"""Who may ask: the token in a header, or a cookie that was given for it."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

COOKIE = "multigrain_session"
SESSION_SECONDS = 7 * 24 * 3600


class Sessions:
    """Checks tokens and makes cookies; a cookie carries a time and a signature made with the token, never the token.

    Args:
        token: of the server.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def is_token(self, given: str) -> bool:
        """Whether it is the server's token, in a time that tells nothing about it."""
        return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(self._token).digest())

    def new_cookie(self, *, is_secure: bool) -> str:
        """The value of a Set-Cookie header."""
        expires = str(int(time.time()) + SESSION_SECONDS)
        secure = "; Secure" if is_secure else ""
        return f"{COOKIE}={expires}.{self._signature(expires)}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_SECONDS}{secure}"

    def is_allowed(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries the token or a cookie that is still good."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_token(token.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        expires, _, signature = cookie.value.partition(".") if cookie else ("", "", "")
        is_signed = hmac.compare_digest(signature.encode(), self._signature(expires).encode())
        return is_signed and expires.isdigit() and int(expires) > time.time()

    def _signature(self, expires: str) -> str:
        return hmac.new(self._token, f"multigrain session until {expires}".encode(), hashlib.sha256).hexdigest()


END_COOKIE = f"{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
