"""Who is let in, and what every answer carries."""

import secrets
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.routing import Route
from web_server import Client, in_process

from multigrain.errors import ServerError
from multigrain.web.api import build_api
from multigrain.web.pages import build_pages
from multigrain.web.proxies import client_address
from multigrain.web.rates import RateLimit
from multigrain.web.security import HEADERS
from multigrain.web.sessions import Sessions
from multigrain.web.settings import Settings

TOKEN = "correct-horse-battery"


@pytest.fixture
def no_refill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits do not become less while a busy machine takes its time."""
    monkeypatch.setattr("multigrain.web.security.RateLimit", lambda burst, _: RateLimit(burst, 1e-6))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_token(tmp_path: Path, host: str):
    assert Settings(data=tmp_path, host=host).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org", "127.0.0.1.example.org", "localhost.example.org", ""])
def test_any_other_host_needs_one(tmp_path: Path, host: str):
    with pytest.raises(ServerError, match="MULTIGRAIN_TOKEN"):
        Settings(data=tmp_path, host=host)
    assert Settings(data=tmp_path, host=host, token=TOKEN).token == TOKEN


@pytest.mark.parametrize("token", ["", "short", "fifteen letters", "ümlaut" * 5, "a line\n" * 4])
def test_a_bad_token_is_refused(tmp_path: Path, token: str):
    with pytest.raises(ServerError, match="at least 16 printable ASCII characters"):
        Settings(data=tmp_path, token=token)


def test_the_token_is_in_no_representation(tmp_path: Path):
    assert TOKEN not in repr(Settings(data=tmp_path, token=TOKEN))


@pytest.mark.parametrize(
    "options", [{"port": 70000}, {"workers": 0}, {"time_limit_seconds": 0.0}, {"video_bytes": 0}, {"queue": 0}, {"duration_seconds": -1.0}]
)
def test_settings_out_of_range_name_the_option(tmp_path: Path, options: dict[str, float]):
    with pytest.raises(ServerError, match=r"^--[a-z-]+ is .*; expected "):
        Settings(data=tmp_path, **options)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "", "[::1", "localhost:port", "user@evil.example"])
def test_other_names_for_this_machine_are_turned_away(client: Client, host: str):
    answer = client.http.get("/api/analyses", headers={"Host": host})
    assert answer.status_code == 421
    assert "127.0.0.1" in answer.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:9", "[::1]:8000", "LOCALHOST"])
def test_this_machine_is_known_by_its_names(client: Client, host: str):
    assert client.http.get("/api/analyses", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_of_other_sites_can_change_nothing(client: Client, headers: dict[str, str]):
    id = client.submit("write well")
    requests = (("POST", "/api/analyses"), ("DELETE", f"/api/analyses/{id}"), ("POST", f"/api/analyses/{id}/cancel"), ("POST", "/session/end"))
    for method, path in requests:
        assert client.http.request(method, path, headers=headers).status_code == 403
    assert client.http.get("/api/analyses").json()["total"] == 1


@pytest.mark.parametrize(
    "origin", ["http://[", "http://127.0.0.1:port", "x", "", "://", "http://", "http://a b", "http://127.0.0.1/path", "http://[::1", "http://é"]
)
def test_a_malformed_origin_is_400(client: Client, origin: str):
    answer = client.http.post("/api/analyses", json={"text": "write on"}, headers={"Origin": origin.encode("latin-1")})
    assert answer.status_code == (403 if origin == "http://é" else 400)
    assert "error" in answer.json()


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "a" * 71,
        "multipart/form-data; boundary=" + "a" * 10_000,
        "multipart/form-data; boundary=é",
        "multipart/form-data; boundary=a\tb",
        "multipart/form-data; boundary*=utf-8''x",
        "multipart/form-data; boundary",
        "multipart/form-data; ;;=;boundary==;",
    ],
)
def test_a_malformed_boundary_is_400(client: Client, kind: str):
    answer = client.http.post("/api/analyses", content=b"--x--\r\n", headers={"Content-Type": kind.encode("latin-1")})
    assert (answer.status_code, "malformed" in answer.json()["error"]) == (400, True)


def test_the_servers_own_page_can(client: Client):
    headers = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert client.http.post("/api/analyses", json={"text": "write on"}, headers=headers).status_code == 202


@pytest.mark.parametrize("path", ["/", "/docs", "/api/analyses", "/api/nothing", "/openapi.json", "/static/page.js", "/health", "/nothing"])
def test_every_answer_carries_the_security_headers(client: Client, path: str):
    answer = client.http.get(path)
    assert {name for name in HEADERS if name.lower() not in answer.headers} == set()
    assert "'unsafe" not in answer.headers["content-security-policy"]
    assert "server" not in answer.headers


def test_with_a_token_every_route_but_the_login_asks_for_it(settings: Settings):
    with in_process(replace(settings, token=TOKEN)) as client:
        routers = (build_api(client.services), build_pages(client.services, Sessions(TOKEN)))
        routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
        is_open = set()
        for route in routes:
            for method in sorted((route.methods or set()) - {"HEAD"}):
                path = route.path.replace("{id}", "0" * 32).replace("{name}", "page.js")
                if client.http.request(method, path, follow_redirects=False).status_code != 401:
                    is_open.add((method, route.path))
        assert is_open == {("GET", "/"), ("GET", "/login"), ("POST", "/session"), ("GET", "/health")}
        assert client.http.get("/", follow_redirects=False).headers["location"] == "/login"
        assert client.http.get("/openapi.json").status_code == 401
        assert client.http.get("/static/page.css").status_code == 200


def test_the_token_opens_as_a_header_and_as_a_cookie(settings: Settings):
    with in_process(replace(settings, token=TOKEN)) as client:
        assert client.http.get("/api/analyses", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.http.get("/api/analyses", headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 401
        assert client.http.get("/api/analyses", headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401
        wrong = client.http.post("/session", data={"token": "wrong"}, follow_redirects=False)
        assert wrong.headers["location"] == "/login#wrong"
        assert "set-cookie" not in wrong.headers
        right = client.http.post("/session", data={"token": f" {TOKEN} "}, follow_redirects=False)
        assert right.headers["location"] == "/"
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert client.http.get("/api/analyses").status_code == 200
        client.http.post("/session/end")
        assert client.http.get("/api/analyses").status_code == 401


def test_a_cookie_cannot_be_made_up_or_kept_for_ever(monkeypatch: pytest.MonkeyPatch):
    sessions = Sessions(TOKEN)
    cookie = sessions.new_cookie(is_secure=True).split(";")[0]
    assert sessions.is_allowed({"cookie": cookie})
    name, _, value = cookie.partition("=")
    expires, drawn, signature = value.split(".")
    forged = [f"{int(expires) + 1}.{drawn}.{signature}", f"{expires}.{'0' * 32}.{signature}", f"{expires}.{drawn}.{'0' * 64}", f"{expires}.{drawn}."]
    forged += ["", ".", "..", "x.y", f"{expires}.{drawn}.ü", f"{signature}", f"²³.{drawn}.{signature}"]
    assert not any(sessions.is_allowed({"cookie": f"{name}={one}"}) for one in forged)
    assert not Sessions(secrets.token_hex()).is_allowed({"cookie": cookie})
    monkeypatch.setattr("multigrain.web.sessions.time.time", lambda: int(expires) / 1000 + 1.0)
    assert not sessions.is_allowed({"cookie": cookie})


def new_session(client: Client, **headers: str) -> str:
    """A cookie, as a browser sends it."""
    answer = client.http.post("/session", data={"token": TOKEN}, headers=headers, follow_redirects=False)
    client.http.cookies.clear()
    return answer.headers["set-cookie"].split(";")[0]


def opens(client: Client, cookie: str) -> bool:
    return client.http.get("/api/analyses", headers={"Cookie": cookie}).status_code == 200


def test_a_session_that_was_ended_opens_nothing_for_whoever_copied_it_not_even_after_a_restart(settings: Settings):
    guarded = replace(settings, token=TOKEN)
    with in_process(guarded) as client:
        ended, other = new_session(client), new_session(client)
        client.http.post("/session/end", headers={"Cookie": ended})
        client.http.cookies.clear()
        assert (opens(client, ended), opens(client, other)) == (False, True)
    with in_process(guarded) as client:
        assert (opens(client, ended), opens(client, other)) == (False, True)


def test_all_sessions_can_be_ended_at_once(settings: Settings):
    with in_process(replace(settings, token=TOKEN)) as client:
        one, other = new_session(client), new_session(client)
        client.http.post("/session/end", data={"everywhere": "yes"}, headers={"Cookie": one})
        client.http.cookies.clear()
        assert (opens(client, one), opens(client, other)) == (False, False)
        assert opens(client, new_session(client))


# Behind a proxy -----------------------------------------------------------------------------------------------------


def test_behind_a_proxy_needs_a_token(tmp_path: Path):
    with pytest.raises(ServerError, match="--behind-proxy lets in whoever reaches the proxy"):
        Settings(data=tmp_path, is_behind_proxy=True)


@pytest.mark.parametrize("is_behind_proxy", [True, False])
def test_behind_a_proxy_the_cookie_is_for_tls_only(settings: Settings, is_behind_proxy: bool):
    with in_process(replace(settings, token=TOKEN, is_behind_proxy=is_behind_proxy)) as client:
        answer = client.http.post("/session", data={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"}, follow_redirects=False)
        assert ("; Secure" in answer.headers["set-cookie"]) is is_behind_proxy


def logins(client: Client, forwarded: str) -> list[int]:
    headers = {"X-Forwarded-For": forwarded}
    return [client.http.post("/session", data={"token": "no"}, headers=headers, follow_redirects=False).status_code for _ in range(12)]


@pytest.mark.usefixtures("no_refill")
def test_behind_a_proxy_limits_are_per_client(settings: Settings):
    with in_process(replace(settings, token=TOKEN, is_behind_proxy=True)) as client:
        assert logins(client, "198.51.100.7").count(429) == 2
        assert logins(client, "198.51.100.8").count(429) == 2
        # What a client claims stands first, what the proxy saw stands last.
        assert logins(client, "203.0.113.9, 198.51.100.7").count(429) == 12


@pytest.mark.usefixtures("no_refill")
def test_without_a_proxy_nobody_chooses_the_address_that_limits_count(settings: Settings):
    with in_process(replace(settings, token=TOKEN)) as client:
        assert logins(client, "198.51.100.7").count(429) == 2
        assert logins(client, "198.51.100.8").count(429) == 12


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7:8080"], "198.51.100.7"),
        (["[2001:db8:1:2:3:4:5:6]:80"], "2001:db8:1:2::"),
        (["2001:db8:1:2:ffff::1"], "2001:db8:1:2::"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
        (["1.2.3.4", "5.6.7.8, 198.51.100.7"], "198.51.100.7"),
        (["unknown"], "192.0.2.1"),
        ([""], "192.0.2.1"),
        ([], "192.0.2.1"),
    ],
)
def test_the_client_s_address_is_what_the_proxy_wrote_last(said: list[str], address: str):
    scope = {"type": "http", "client": ("192.0.2.1", 5), "headers": [(b"x-forwarded-for", one.encode()) for one in said]}
    assert client_address(scope, is_behind_proxy=True) == address
    assert client_address(scope, is_behind_proxy=False) == "192.0.2.1"


@pytest.mark.usefixtures("no_refill")
def test_guessing_tokens_is_slowed_down(settings: Settings):
    with in_process(replace(settings, token=TOKEN)) as client:
        statuses = [client.http.post("/session", data={"token": str(number)}, follow_redirects=False).status_code for number in range(12)]
        assert statuses[:10] == [303] * 10
        assert statuses[10:] == [429] * 2


@pytest.mark.usefixtures("no_refill")
def test_submissions_too_fast_are_told_when_to_come_again(settings: Settings):
    with in_process(replace(settings, submissions_per_minute=3)) as client:
        answers = [client.http.post("/api/analyses", json={"text": "write on"}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
        assert int(answers[3].headers["retry-after"]) > 0
        assert client.http.get("/api/analyses").status_code == 200


def test_a_bucket_refills_and_forgets_the_oldest_address(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr("multigrain.web.rates.time.monotonic", lambda: now)
    monkeypatch.setattr("multigrain.web.rates.MOST_ADDRESSES", 2)
    limit = RateLimit(2, 0.5)
    assert [limit.wait_seconds("a") for _ in range(3)] == [0, 0, 2]
    now += 2
    assert [limit.wait_seconds("a") for _ in range(2)] == [0, 2]
    assert [limit.wait_seconds(address) for address in ("b", "c", "a", "a", "a")] == [0, 0, 0, 0, 2]
