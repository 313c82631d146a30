"""The application: which address shows which page, and what every request passes through first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from text_gym.feedback.access import Access
from text_gym.feedback.participation import Participation
from text_gym.feedback.refusal import Refusal
from text_gym.feedback.server import annotating, researching
from text_gym.feedback.server.bodies import Bodies
from text_gym.feedback.server.headers import SecureHeaders
from text_gym.feedback.server.hosts import LOOPBACK, Hosts
from text_gym.feedback.server.pages import Frame, refused
from text_gym.feedback.server.rates import Rates
from text_gym.feedback.server.refusals import Refusals
from text_gym.feedback.server.sessions import Sessions, form_of
from text_gym.feedback.server.visitor import Served, Visitor
from text_gym.feedback.store import Store
from text_gym.feedback.study import Study

Answered = Callable[[Visitor], Response]


def make_app(
    study: Study,
    store: Store,
    *,
    is_open: bool = True,
    address: str = "http://127.0.0.1:8000",
    hosts: Collection[str] = LOOPBACK,
    participation: Participation | None = None,
) -> Starlette:
    """Returns the ASGI application that serves a study.

    Args:
        study: Its settings.
        store: Its rows; open as long as the application runs.
        is_open: Whether whoever reaches the server may take part; otherwise a link is needed.
        address: Under which people reach the server: stands in links.
        hosts: The names by which it may be called, without ports.
        participation: What leads people through the study, if time and chance are not the usual.
    """
    access = Access(store)
    served = Served(
        study, store, participation or Participation(study, store), access, is_open, address
    )
    secure = address.startswith("https://")
    frame = Frame(study.config.title, contact=study.config.contact)
    return Starlette(
        routes=_routes(served),
        middleware=[
            Middleware(SecureHeaders),
            Middleware(Refusals, page=lambda refusal: refused(refusal, frame)),
            Middleware(Hosts, names=hosts),
            Middleware(Rates),
            Middleware(Bodies),
            Middleware(Sessions, secret=store.tokens.secret(), secure=secure),
        ],
        exception_handlers={HTTPException: _refuse},  # type: ignore[dict-item]
    )


def _routes(served: Served) -> list[Route | Mount]:
    def get(path: str, answered: Answered) -> Route:
        return Route(path, _endpoint(served, answered), methods=["GET"])

    def post(path: str, answered: Answered) -> Route:
        return Route(path, _endpoint(served, answered), methods=["POST"])

    def both(path: str, answered: Answered) -> Route:
        return Route(path, _endpoint(served, answered), methods=["GET", "POST"])

    return [
        get("/", annotating.home),
        post("/join", annotating.join),
        both("/link/{token}", annotating.link),
        both("/crowd/{token}", annotating.crowd),
        post("/sign-out", annotating.sign_out),
        post("/consent", annotating.consent),
        both("/guidelines", annotating.guidelines),
        get("/judge", annotating.judging),
        post("/judge", annotating.judge),
        post("/undo", annotating.undo),
        get("/explained/{judgement}", annotating.explained),
        post("/go-on", annotating.go_on),
        get("/about", annotating.about),
        post("/forget", annotating.forget),
        get("/admin", researching.admin),
        post("/admin/sign-in", researching.sign_in),
        post("/admin/links", researching.make_link),
        post("/admin/annotators/{annotator}", researching.act),
        get("/admin/export/{format}", researching.download),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
    ]


def _endpoint(served: Served, answered: Answered) -> Callable[[Request], object]:
    """Returns what Starlette calls; rows are read and written in a thread of their own."""

    async def endpoint(request: Request) -> Response:
        form = await form_of(request) if request.method == "POST" else None
        return await run_in_threadpool(_answer, served, answered, request, form)

    return endpoint


def _answer(
    served: Served, answered: Answered, request: Request, form: FormData | None
) -> Response:
    try:
        return answered(Visitor(served, request, form))
    except sqlite3.OperationalError as error:
        raise Refusal(
            507, f"store: {error}",
            "This could not be saved. What was saved before is not lost: go back and try again in "
            "a few minutes, or tell the researcher.",
        ) from error  # fmt: skip


async def _refuse(_: Request, error: HTTPException) -> NoReturn:
    if error.status_code == 405:
        raise Refusal(405, "method", "This page cannot be called in this way.") from error
    raise Refusal(error.status_code, "no such page", "There is no such page.") from error
