"""The pages of annotators: coming in, judging, leaving. Knows no rule: see `participation`."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.responses import Response

from text_gym.feedback.annotators import Annotator
from text_gym.feedback.answers import agrees
from text_gym.feedback.participation import Task
from text_gym.feedback.refusal import Refusal
from text_gym.feedback.server import pages
from text_gym.feedback.server.forms import answer_of, reason_of, strength_of
from text_gym.feedback.server.spelling import spelt
from text_gym.feedback.server.visitor import Visitor, go_to

# Coming in


def home(visitor: Visitor) -> Response:
    """Shows the way in."""
    if visitor.annotator is not None:
        return go_to("/judge")
    if visitor.is_admin:
        return go_to("/admin")
    if visitor.served.is_open:
        return visitor.show(pages.Invitation("/join", asks_pseudonym=True))
    return visitor.show(pages.SignIn())


def join(visitor: Visitor) -> Response:
    """Lets somebody in under a pseudonym of their choice, where everybody may come in."""
    if not visitor.served.is_open:
        raise Refusal(403, "closed study", "To take part, open the link that you were given.")
    try:
        annotator = visitor.served.store.annotators.add(
            visitor.form.get("pseudonym", "").strip(), came_by="open"
        )
    except ValueError as error:
        page = pages.Invitation("/join", asks_pseudonym=True, problem=_sentence(error))
        return visitor.show(page, 422)
    visitor.sign_in(annotator)
    return go_to("/judge")


def link(visitor: Visitor) -> Response:
    """Welcomes who has a secret link, and lets them in when they go on."""
    token = visitor.request.path_params["token"]
    annotator = visitor.served.access.invited(token)
    if visitor.request.method != "POST":
        return visitor.show(pages.Invitation(f"/link/{token}"))
    visitor.sign_in(annotator)
    return go_to("/judge")


def crowd(visitor: Visitor) -> Response:
    """Welcomes who comes from a platform, and lets them in when they go on."""
    if not visitor.served.study.config.crowd:
        raise Refusal(404, "no crowd", "There is no such page.")
    token = visitor.request.path_params["token"]
    sent = visitor.request.method == "POST"
    parameters = visitor.form if sent else dict(visitor.request.query_params)
    worker = visitor.served.access.worker_of(token, parameters)
    if not sent:
        name = worker.partition(" ")[2]
        return visitor.show(pages.Invitation(f"/crowd/{token}", name, fields=parameters))
    visitor.sign_in(visitor.served.access.admit_worker(worker))
    return go_to("/judge")


def sign_out(visitor: Visitor) -> Response:
    """Signs somebody out."""
    visitor.sign_out()
    return go_to("/")


# Judging


def judging(visitor: Visitor) -> Response:
    """Shows where somebody stands: the next item, or what comes before or after it."""
    return _standing(visitor, visitor.require_annotator())


def judge(visitor: Visitor) -> Response:
    """Records an answer."""
    annotator, form = visitor.require_annotator(), visitor.form
    participation, lease_id = visitor.served.participation, form.get("lease", "")
    lease = visitor.served.store.leases.get(lease_id)
    known = lease if lease is not None else visitor.served.store.judgements.get(lease_id)
    if known is None:
        raise Refusal(
            409, "no such lease",
            "This text is no longer yours: it was taken back or given to somebody else. Nothing of "
            "what you sent before is lost.",
        )  # fmt: skip
    try:
        judgement = participation.answer(
            annotator,
            lease_id,
            answer_of(form, known.order, visitor.served.study.config),
            strength_of(form),
            reason_of(form),
        )
    except ValueError as error:
        return _standing(visitor, annotator, notice=_sentence(error), status=422)
    if visitor.served.store.items.get(judgement.item).purpose == "tutorial":
        return go_to(f"/explained/{judgement.id}")
    return go_to("/judge")


def undo(visitor: Visitor) -> Response:
    """Takes back the last answer."""
    visitor.served.participation.undo(visitor.require_annotator())
    return go_to("/judge")


def explained(visitor: Visitor) -> Response:
    """Shows what the right answer to an example was, and why."""
    annotator = visitor.require_annotator()
    judgement = visitor.served.store.judgements.get(visitor.request.path_params["judgement"])
    if judgement is None or judgement.annotator != annotator.id:
        raise Refusal(404, "no such example", "There is no such page.")
    item = visitor.served.store.items.get(judgement.item)
    if item.purpose != "tutorial" or item.expected is None:
        raise Refusal(404, "no such example", "There is no such page.")
    return visitor.show(
        pages.Explained(
            prompt=item.prompt,
            texts=[item.completions[at].text for at in judgement.order],
            given=spelt(judgement.answer, judgement.order),
            expected=spelt(item.expected, judgement.order),
            is_right=agrees(judgement.answer, item.expected),
            explanation=item.explanation,
        )
    )


def go_on(visitor: Visitor) -> Response:
    """Goes on from an example."""
    visitor.require_annotator()
    return go_to("/judge")


def consent(visitor: Visitor) -> Response:
    """Records that somebody agrees."""
    visitor.served.participation.agree(visitor.require_annotator())
    return go_to("/judge")


def guidelines(visitor: Visitor) -> Response:
    """Shows the guidelines, or records that they were read."""
    annotator = visitor.require_annotator()
    if visitor.request.method == "POST":
        visitor.served.participation.learn(annotator)
        return go_to("/judge")
    version, text = visitor.served.store.documents.newest("guidelines")
    return visitor.show(pages.Guidelines(text or "", version, must_agree=False))


# The person's own data


def about(visitor: Visitor) -> Response:
    """Shows what is kept of somebody."""
    return visitor.show(_about(visitor, visitor.require_annotator()))


def forget(visitor: Visitor) -> Response:
    """Deletes whatever is kept of somebody, if they mean it."""
    annotator = visitor.require_annotator()
    if visitor.form.get("forget", "").strip() != annotator.pseudonym:
        page = _about(visitor, annotator, "To have it deleted, write your pseudonym exactly.")
        return visitor.show(page, 422)
    visitor.sign_out()
    visitor.served.store.forget(annotator.id)
    return visitor.show(pages.Forgotten())


def _about(visitor: Visitor, annotator: Annotator, problem: str = "") -> pages.About:
    said = visitor.served.store.judgements.standing(annotator.id)
    since = f"{datetime.fromtimestamp(said[0].answered_at, UTC):%Y-%m-%d}" if said else ""
    return pages.About(annotator.pseudonym, len(said), since, problem)


def _standing(
    visitor: Visitor, annotator: Annotator, notice: str = "", status: int = 200
) -> Response:
    participation = visitor.served.participation
    stage = participation.stage(annotator)
    if stage == "task":
        task = participation.task(annotator)
        if task is not None:
            return visitor.show(_judging(visitor, annotator, task, notice), status)
        stage = participation.stage(annotator)  # it went to somebody else in between
    return visitor.show(_before_or_after(visitor, annotator, stage), status)


def _before_or_after(visitor: Visitor, annotator: Annotator, stage: str) -> pages.Page:
    store, participation = visitor.served.store, visitor.served.participation
    if stage == "consent":
        return pages.Consent(store.documents.newest("consent")[1] or "")
    if stage == "guidelines":
        version, text = store.documents.newest("guidelines")
        return pages.Guidelines(
            text or "",
            version,
            must_agree=True,
            is_new=store.annotators.last(annotator.id, "taught") is not None,
            has_lessons=bool(store.items.expected("tutorial")),
        )
    if stage in ("paused", "rejected"):
        return pages.Stopped(participation.why_stopped(annotator), stage == "rejected")
    return _done(visitor, annotator)


def _done(visitor: Visitor, annotator: Annotator) -> pages.Done:
    config, store = visitor.served.study.config, visitor.served.store
    judged = len(store.judgements.work(annotator.id))
    code = visitor.served.access.completion_code(annotator) if annotator.came_by == "crowd" else ""
    done, wanted = store.items.progress((config.overlap, config.max_overlap))
    return pages.Done(
        judged,
        code,
        can_undo=visitor.served.participation.undoable(annotator) is not None,
        is_over=done >= wanted or 0 < config.most_judgements <= judged,
    )


def _judging(visitor: Visitor, annotator: Annotator, task: Task, notice: str) -> pages.Judging:
    config, lease = visitor.served.study.config, task.lease
    return pages.Judging(
        lease=lease.id,
        mode=config.mode,
        question=config.asked,
        prompt=task.item.prompt,
        texts=[task.item.completions[at].text for at in lease.order],
        scales=config.scales if config.mode == "rate" else (),
        ask_strength=config.ask_strength,
        ask_reason=config.ask_reason,
        lesson=task.item.purpose if task.item.purpose in ("tutorial", "exam") else "",
        done=len(visitor.served.store.judgements.work(annotator.id)),
        most=config.most_judgements,
        can_undo=visitor.served.participation.undoable(annotator) is not None,
        notice=notice,
    )


def _sentence(error: ValueError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + "."
