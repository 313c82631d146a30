"""What stands before the pages of a study: each guard around a small application of its own."""

import asyncio
import logging
import re

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from text_gym.feedback.refusal import Refusal
from text_gym.feedback.server import rates
from text_gym.feedback.server.bodies import Bodies
from text_gym.feedback.server.headers import HEADERS, SecureHeaders
from text_gym.feedback.server.hosts import Hosts
from text_gym.feedback.server.rates import Buckets, Rate, Rates
from text_gym.feedback.server.refusals import Refusals
from text_gym.feedback.server.sessions import COOKIE, FIELD, Sessions, form_of, session_of

SECRET = b"s" * 32


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def form_page(request: Request) -> Response:
    return PlainTextResponse(session_of(request).csrf)


async def send_form(request: Request) -> Response:
    form = await form_of(request)
    return PlainTextResponse(str(form["said"]))


async def sign_in(request: Request) -> Response:
    await form_of(request)
    return PlainTextResponse(session_of(request).renew())


async def broken(request: Request) -> Response:
    raise RuntimeError("nobody knew")


async def refuses(request: Request) -> Response:
    raise Refusal(403, "a rule", "You may <b>not</b>.")


ROUTES = [
    Route("/", echo, methods=["GET", "POST"]),
    Route("/form", form_page),
    Route("/send", send_form, methods=["POST"]),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/broken", broken),
    Route("/refuses", refuses),
    Route("/link/{token}", refuses),
]


def client(*guards, **options):
    """Returns a client of an application in the guards, the outermost first."""
    stack = [SecureHeaders, refusals, *guards]
    app = Starlette(routes=ROUTES, middleware=[Middleware(guard) for guard in stack])
    return TestClient(app, base_url="http://localhost", **options)


def refusals(app):
    return Refusals(app, lambda refusal: refusal.explanation)


def sessions(app):
    return Sessions(app, SECRET)


# Headers


def test_every_response_tells_the_browser_to_run_and_load_nothing_from_elsewhere():
    for response in (client().get("/"), client().get("/refuses"), client().get("/nowhere")):
        assert all(response.headers[name] == value for name, value in HEADERS.items())
        assert response.headers["cache-control"] == "no-store"


def test_the_policy_allows_no_inline_script_or_style_and_no_frame_around():
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert policy.startswith("default-src 'none'")


# Hosts


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:80", "[::1]:8000"])
def test_the_server_answers_to_its_own_names(host):
    assert client(Hosts).get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost:x", ""])
def test_the_server_answers_to_no_other_name(host):
    assert client(Hosts).get("/", headers={"host": host}).status_code == 421


def test_a_star_lets_any_name_through_but_no_foreign_page():
    anywhere = client(lambda app: Hosts(app, ["*"]))
    assert anywhere.get("/", headers={"host": "evil.example"}).status_code == 200
    sent = anywhere.post("/", headers={"host": "a.example", "origin": "https://b.example"})
    assert sent.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:81"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_what_another_page_sends_is_refused(headers):
    assert client(Hosts).post("/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://localhost"}, {"sec-fetch-site": "same-origin"}]
)
def test_what_our_own_pages_send_is_let_through(headers):
    assert client(Hosts).post("/", headers=headers).status_code == 200


def test_a_link_on_another_page_may_be_followed():
    assert client(Hosts).get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200


# Bodies


def small(app):
    return Bodies(app, most_bytes=10, most_seconds=0.05)


def test_a_body_arrives_whole():
    assert client(small).post("/", content=b"0123456789").text == "0123456789"


def test_a_body_that_says_it_is_large_is_refused_unread():
    response = client(small).post("/", content=b"x" * 11)
    assert response.status_code == 413
    assert response.headers["connection"] == "close"


def test_a_body_that_turns_out_large_is_refused():
    response = client(small).post("/", content=iter([b"x" * 6, b"x" * 6]))
    assert response.status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "many"])
def test_a_length_that_is_none_is_refused(length):
    response = client(small).post("/", content=b"x", headers={"content-length": length})
    assert response.status_code == 413


async def answered(app, receive):
    """Returns the status of a response to a POST whose messages `receive` makes."""
    scope = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [(b"transfer-encoding", b"chunked")], "client": ("127.0.0.1", 1),
    }  # fmt: skip
    sent = []

    async def send(message):
        sent.append(message)

    await refusals(app)(scope, receive, send)
    return sent[0]["status"] if sent else None


def test_a_body_that_comes_drop_by_drop_is_cut_off():
    async def drop():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    assert asyncio.run(answered(small(Starlette(routes=ROUTES)), drop)) == 408


def test_who_goes_away_in_the_middle_is_not_answered():
    async def gone():
        return {"type": "http.disconnect"}

    assert asyncio.run(answered(small(Starlette(routes=ROUTES)), gone)) is None


# Rates


def test_a_bucket_fills_again_with_time_and_never_runs_over():
    now = [0.0]
    buckets = Buckets(Rate(per_second=2, at_once=3), lambda: now[0])
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]
    now[0] = 0.5
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]


def test_one_bucket_says_nothing_of_another():
    buckets = Buckets(Rate(1, 1), lambda: 0.0)
    assert buckets.take("a")
    assert buckets.take("b")


def test_buckets_are_forgotten_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr(rates, "_MOST_REMEMBERED", 3)
    buckets = Buckets(Rate(1, 1), lambda: 0.0)
    for key in "abcdef":
        buckets.take(key)
    assert len(buckets._left) == 3


def limited(app):
    return Rates(app, session=Rate(1, 2), address=Rate(1, 5), clock=lambda: 0.0)


def test_a_session_that_asks_too_often_has_to_wait():
    asking = client(limited, cookies={COOKIE: "a"})
    assert [asking.get("/").status_code for _ in range(3)] == [200, 200, 429]


def test_an_address_that_asks_too_often_has_to_wait_whatever_its_sessions():
    guarded = client(limited)
    statuses = []
    for name in range(6):
        guarded.cookies.set(COOKIE, str(name))
        statuses.append(guarded.get("/").status_code)
    assert statuses == [200] * 5 + [429]


# Sessions and forms


def test_a_visitor_keeps_one_session_which_no_script_can_read():
    visitor = client(sessions)
    cookie = visitor.get("/form").headers["set-cookie"]
    assert re.fullmatch(
        r"session=[\w-]{43}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict", cookie
    )
    assert "set-cookie" not in visitor.get("/form").headers


def test_a_session_by_tls_is_never_sent_without():
    secure = client(lambda app: Sessions(app, SECRET, secure=True))
    assert secure.get("/form").headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize("chosen", ["a", "x" * 44, "é" * 43, 'a"; Path=/evil'])
def test_a_session_of_another_shape_is_replaced(chosen):
    response = client(sessions).get("/form", headers={"cookie": f"session={chosen}".encode()})
    assert "set-cookie" in response.headers


def test_a_form_comes_back_with_what_the_page_gave():
    visitor = client(sessions)
    token = visitor.get("/form").text
    assert visitor.post("/send", data={FIELD: token, "said": "yes"}).text == "yes"


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
def test_a_form_without_what_the_page_gave_is_refused(token):
    visitor = client(sessions)
    visitor.get("/form")
    assert visitor.post("/send", data={FIELD: token, "said": "yes"}).status_code == 403


def test_what_the_page_gave_to_somebody_else_is_refused():
    token = client(sessions).get("/form").text
    other = client(sessions)
    other.get("/form")
    assert other.post("/send", data={FIELD: token, "said": "yes"}).status_code == 403


def test_signing_in_renews_the_session_and_ends_its_forms():
    visitor = client(sessions)
    token, before = visitor.get("/form").text, visitor.cookies[COOKIE]
    after = visitor.post("/sign-in", data={FIELD: token}).text
    assert visitor.cookies[COOKIE] == after != before
    assert visitor.post("/send", data={FIELD: token, "said": "yes"}).status_code == 403


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", ""])
def test_only_plain_forms_are_read(kind):
    visitor = client(sessions)
    visitor.get("/form")
    sent = visitor.post("/send", content=b"said=yes", headers={"content-type": kind})
    assert sent.status_code == 415


# Refusals


def test_a_refusal_is_one_page_and_one_line_in_which_nothing_is_obeyed(caplog):
    with caplog.at_level(logging.WARNING):
        response = client().get("/link/very-secret")
    assert (response.status_code, response.text) == (403, "You may <b>not</b>.")
    assert caplog.messages == ["refused 403 (a rule): GET '/link/...' from testclient"]


def test_what_the_other_side_sends_cannot_write_lines_of_its_own_into_the_log(caplog):
    with caplog.at_level(logging.WARNING):
        client(Hosts).get("/%0a%1b[31m%E2%80%AE", headers={"host": "a\x1bb"})
    (line,) = caplog.messages
    assert line.isprintable()
    assert "\\n\\x1b[31m\\u202e" in line


def test_an_error_of_ours_is_a_page_and_is_raised_on():
    assert client(raise_server_exceptions=False).get("/broken").status_code == 500
    with pytest.raises(RuntimeError, match="nobody knew"):
        client().get("/broken")
