"""Attacks on a study that is served: nothing executed, nothing lost, each refused and logged."""

import http.client
import json
import logging
import re
import socket
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from urllib.parse import quote

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from text_gym.feedback import Completion, Item, QualityRules, Scale, StudyConfig, create_study
from text_gym.feedback.access import Access
from text_gym.feedback.server.app import make_app
from text_gym.feedback.server.bodies import Bodies
from text_gym.feedback.server.headers import HEADERS
from text_gym.feedback.server.rates import Buckets
from text_gym.feedback.server.refusals import Refusals
from text_gym.feedback.simulated.pages import parse_page

ADDRESS = "http://127.0.0.1:8000"
PATIENT = QualityRules(least_seconds=0.0, seconds_per_word=0.0, same_side_run=1_000)

EVIL = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)> '",
    "'); DROP TABLE judgements; --",
    "' OR '1'='1",
    'x", "preferred": 0}',
    "\x1b[2J\x1b[31m\x07",
    "\u202egnirts \u2066",
    "../../../etc/passwd",
    "{{ 7 * 7 }}{% for x in y %}",
    "%s%n{0}",
    "\x00",
    "\ufffe\U0010ffff",
    "",
    " ",
    "9" * 5000,
    "-1",
    "\u0664",
]
MARKUP = re.compile(r"<script>|<img|onerror=\w+\(1\)>")


@contextmanager
def at_work(folder, mode="compare", count=40, **settings):
    """Yields a study's application and store."""
    texts = {"compare": 2, "rank": 3}.get(mode, 1)
    items = [
        Item(f"item {at}", EVIL[at % len(EVIL)], (Completion(EVIL[at % len(EVIL)]),) * texts)
        for at in range(count)
    ]
    config = StudyConfig(
        title="<b>'; --", mode=mode, rules=PATIENT, scales=(Scale("a \"b' <c>"), Scale("d")),
        ask_strength=True, ask_reason=True, gold_share=0.0, repeat_share=0.0, **settings,
    )  # fmt: skip
    study = create_study(folder, config, items)
    with study.open() as store:
        yield make_app(study, store), store


class Attacker:
    """Sends what it likes, and looks at what comes back."""

    def __init__(self, app):
        self.client = TestClient(app, base_url=ADDRESS)
        self.read(self.client.get("/"))

    def read(self, response):
        """Keeps the page; whatever was sent, it is a page of ours and has no markup of others."""
        assert response.status_code < 500, response.text
        assert response.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
        assert not MARKUP.search(response.text)
        # What is to be edited is sent back as it was, so it is in the page as it is.
        shown = re.sub("<textarea.*?</textarea>", "", response.text, flags=re.DOTALL)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", shown)
        self.page = parse_page(str(response.url), response.status_code, response.text)
        return response

    def send(self, path, **fields):
        if not any("csrf" in form.fields for form in self.page.forms):
            self.read(self.client.get("/"))
            self.read(self.client.get("/about"))
        secret = next(form.fields["csrf"] for form in self.page.forms)
        return self.read(self.client.post(path, data={"csrf": secret, **fields}))

    def come_in(self, name="ann"):
        self.send("/join", pseudonym=name)
        self.send("/consent")
        self.send("/guidelines")
        return self.page.form_with("lease").fields


def rows(folder, table):
    """Returns what stands in a table, read by another connection."""
    with closing(sqlite3.connect(folder / "feedback.sqlite")) as other:
        return other.execute(f"SELECT * FROM {table}").fetchall()


@pytest.mark.parametrize("mode", ["compare", "rank", "rate", "correct"])
def test_no_field_of_a_judgement_executes_or_breaks_anything(tmp_path, mode, monkeypatch):
    monkeypatch.setattr(Buckets, "take", lambda buckets, key: True)
    with at_work(tmp_path / "s", mode, count=200) as (app, store):
        attacker = Attacker(app)
        attacker.come_in()
        names = [
            "lease", "answer", "strength", "reason", "text", "place-1", 'rating-a "b\' <c>',
            "rating-d", "nobody asked",
        ]  # fmt: skip
        good = {
            "compare": {"answer": "left"},
            "rank": {"answer": "send", "place-1": "1", "place-2": "2", "place-3": "2"},
            "rate": {"answer": "send", "rating-a \"b' <c>": "1", "rating-d": "2"},
            "correct": {"answer": "send", "text": "x"},
        }[mode]
        for name in names:
            for evil in EVIL:
                lease = attacker.page.form_with("lease")
                if lease is None:
                    attacker.read(attacker.client.get("/judge"))
                    lease = attacker.page.form_with("lease")
                fields = {"lease": lease.fields["lease"], **good, name: evil}
                before = len(store.judgements.all())
                status = attacker.send("/judge", **fields).status_code
                kept = len(store.judgements.all()) - before
                assert kept == (status == 200)
                if kept and name == "reason":
                    assert store.judgements.all()[-1].reason == evil.strip()
        assert len(store.judgements.all()) >= len(EVIL)


@pytest.mark.parametrize("evil", EVIL)
def test_a_pseudonym_is_a_name_or_refused(tmp_path, evil):
    with at_work(tmp_path / "s", count=1) as (app, store):
        attacker = Attacker(app)
        status = attacker.send("/join", pseudonym=evil).status_code
        names = [one.pseudonym for one in store.annotators.all()]
        assert names == ([evil.strip()] if status == 200 else [])
        boss = Attacker(app)
        boss.read(boss.client.get("/admin"))
        boss.send("/admin/sign-in", token=Access(store).admin_token())
        boss.read(boss.client.get("/admin"))
        assert boss.send("/admin/links", pseudonym=evil, role=evil).status_code in (200, 422)


@pytest.mark.parametrize("evil", EVIL)
def test_no_address_leads_out_of_the_study(tmp_path, evil):
    with at_work(tmp_path / "s", count=1) as (app, store):
        attacker = Attacker(app)
        attacker.come_in()
        spelt = quote(evil, safe="")
        for path in (
            f"/link/{spelt}", f"/crowd/{spelt}?workerId={spelt}", f"/explained/{spelt}",
            f"/admin/export/{spelt}", f"/static/{spelt}", f"/{spelt}", f"/judge?lease={spelt}",
        ):  # fmt: skip
            attacker.read(attacker.client.get(path))
        assert len(store.annotators.all()) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
        "/static/%2fetc%2fpasswd", "/static/..%5c..%5capp.py", "/static/", "/static/style.css%00",
        "/study.json", "/feedback.sqlite", "/.lock", "/admin/export/../../study.json",
        "/admin/export/plain%2f..%2f..%2fstudy.json",
    ],
)  # fmt: skip
def test_no_file_is_served_but_those_of_the_pages(tmp_path, path):
    with at_work(tmp_path / "s", count=1) as (app, _), listening(app) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.putrequest("GET", path, skip_accept_encoding=True)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        assert response.status in (400, 401, 404)
        assert b"import" not in body
        assert b"root:" not in body
        connection.close()


def test_what_was_kept_leaves_as_it_was(tmp_path):
    with at_work(tmp_path / "s") as (app, store):
        attacker = Attacker(app)
        attacker.come_in()
        for evil in EVIL:
            lease = attacker.page.form_with("lease").fields["lease"]
            attacker.send("/judge", lease=lease, answer="tie", reason=evil[:2000])
        assert [one.reason for one in store.judgements.all()] == [
            evil[:2000].strip() for evil in EVIL
        ]
        boss = Attacker(app)
        boss.read(boss.client.get("/admin"))
        boss.send("/admin/sign-in", token=Access(store).admin_token())
        lines = boss.client.get("/admin/export/plain").text.splitlines()
        assert all(json.loads(line) for line in lines)


@pytest.mark.parametrize("path", ["/judge", "/undo", "/forget", "/sign-out", "/consent", "/join"])
def test_another_sites_page_can_do_nothing_in_somebodys_name(tmp_path, path, caplog):
    with at_work(tmp_path / "s", count=2) as (app, _):
        victim = Attacker(app)
        fields = victim.come_in()
        before = (
            rows(tmp_path / "s", "events"),
            rows(tmp_path / "s", "judgements"),
            rows(tmp_path / "s", "annotators"),
        )
        sent = {**fields, "answer": "left", "forget": "ann", "pseudonym": "eve"}
        with caplog.at_level(logging.WARNING):
            for headers, changed in (
                ({"origin": "https://evil.example"}, {}),
                ({"sec-fetch-site": "cross-site"}, {}),
                ({}, {"csrf": ""}),
                ({}, {"csrf": "0" * 64}),
            ):
                response = victim.client.post(path, data=sent | changed, headers=headers)
                assert response.status_code == 403
        assert len(caplog.messages) == 4
        assert before == (
            rows(tmp_path / "s", "events"),
            rows(tmp_path / "s", "judgements"),
            rows(tmp_path / "s", "annotators"),
        )


def test_a_form_is_good_for_nothing_once_its_owner_has_left(tmp_path):
    with at_work(tmp_path / "s", count=2) as (app, store):
        victim = Attacker(app)
        fields = victim.come_in()
        stolen = dict(victim.client.cookies)
        victim.send("/sign-out")
        thief = TestClient(app, base_url=ADDRESS, cookies=stolen)
        assert thief.post("/judge", data={**fields, "answer": "left"}).status_code == 401
        assert store.judgements.all() == []


def test_a_session_that_somebody_else_chose_is_not_kept(tmp_path):
    with at_work(tmp_path / "s", count=1) as (app, _):
        chosen = "A" * 43
        victim = TestClient(app, base_url=ADDRESS, cookies={"session": chosen})
        secret = parse_page("/", 200, victim.get("/").text).forms[0].fields["csrf"]
        response = victim.post(
            "/join", data={"csrf": secret, "pseudonym": "ann"}, follow_redirects=False
        )
        assert response.status_code == 303
        assert chosen not in response.headers["set-cookie"]
        attacker = TestClient(app, base_url=ADDRESS, cookies={"session": chosen})
        assert attacker.get("/judge").status_code == 401


def test_a_body_too_large_is_refused_and_the_study_goes_on(tmp_path):
    with at_work(tmp_path / "s", "correct", count=2) as (app, store):
        attacker = Attacker(app)
        fields = attacker.come_in() | {"answer": "send"}
        for size, status in ((60_000, 422), (300_000, 413)):
            sent = attacker.send("/judge", **fields | {"text": "x" * size})
            assert sent.status_code == status
            attacker.read(attacker.client.get("/judge"))
        attacker.send("/judge", **fields | {"text": "x" * 50_000})
        assert len(store.judgements.all()) == 1


@contextmanager
def listening(app):
    """Serves an application on loopback; yields the port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def test_a_body_that_comes_drop_by_drop_is_answered_and_cut_off():
    app = Starlette(
        middleware=[
            Middleware(Refusals, page=lambda refusal: refusal.explanation),
            Middleware(Bodies, most_seconds=0.3),
        ]
    )
    with listening(app) as port, socket.create_connection(("127.0.0.1", port)) as line:
        line.settimeout(5)
        line.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n")
        line.sendall(b"a")
        answer = b""
        while part := line.recv(4096):
            answer += part
        assert answer.startswith(b"HTTP/1.1 408")
