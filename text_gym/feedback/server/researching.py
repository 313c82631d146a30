"""The researcher's pages: the state of the study, its annotators, its export."""

from __future__ import annotations

import math

from markupsafe import Markup
from starlette.responses import Response, StreamingResponse

from text_gym.feedback.annotators import ROLES
from text_gym.feedback.collecting import collect
from text_gym.feedback.formats import EXPORTS, export
from text_gym.feedback.overview import Agreement, Work, agreements, disputed, per_hour, works
from text_gym.feedback.refusal import Refusal
from text_gym.feedback.server import pages, plots
from text_gym.feedback.server.refusals import LOG, line_of
from text_gym.feedback.server.spelling import spelt
from text_gym.feedback.server.visitor import Visitor, go_to


def admin(visitor: Visitor) -> Response:
    """Shows the state of the study, or asks for the token."""
    if not visitor.is_admin:
        return visitor.show(pages.SignIn(for_admin=True))
    return visitor.show(_overview(visitor))


def sign_in(visitor: Visitor) -> Response:
    """Lets the researcher in."""
    if not visitor.served.access.is_admin_token(visitor.form.get("token", "").strip()):
        refusal = Refusal(403, "wrong admin token", "")
        LOG.warning("%s", line_of(refusal, visitor.request))
        return visitor.show(pages.SignIn(for_admin=True, is_wrong=True), 403)
    visitor.sign_in_admin()
    return go_to("/admin")


def act(visitor: Visitor) -> Response:
    """Stops an annotator, lets one go on, leaves one out or takes one back in."""
    visitor.require_admin()
    participation = visitor.served.participation
    annotator = visitor.served.store.annotators.get(visitor.request.path_params["annotator"])
    if annotator is None:
        raise Refusal(404, "no such annotator", "There is no such annotator.")
    why = visitor.form.get("why", "").strip() or "By the researcher."
    match visitor.form.get("action"):
        case "pause":
            participation.pause(annotator, why)
        case "resume":
            participation.resume(annotator)
        case "exclude":
            participation.exclude(annotator, why)
        case "include":
            participation.include(annotator)
        case _:
            raise Refusal(404, "no such action", "There is no such action.")
    return go_to("/admin")


def make_link(visitor: Visitor) -> Response:
    """Makes a secret link for a new annotator, or a new one for an earlier; shows it once."""
    visitor.require_admin()
    store, form = visitor.served.store, visitor.form
    role, pseudonym = form.get("role", "annotator"), form.get("pseudonym", "").strip()
    try:
        if role not in ROLES:
            raise ValueError(f"role must be one of {', '.join(ROLES)}")
        annotator = store.annotators.named(pseudonym) or store.annotators.add(pseudonym, role)
    except ValueError as error:
        return visitor.show(_overview(visitor, notice=str(error)), 422)
    token = visitor.served.access.invite(annotator)
    return visitor.show(_overview(visitor, f"{visitor.served.address}/link/{token}"))


def download(visitor: Visitor) -> Response:
    """Sends what was collected, in one of the formats."""
    visitor.require_admin()
    name = visitor.request.path_params["format"]
    if name not in EXPORTS:
        raise Refusal(404, "no such format", f"The formats are {', '.join(EXPORTS)}.")
    collected = collect(visitor.served.study, visitor.served.store, everything=name == "plain")
    try:
        parts = list(export(name, collected))
    except ValueError as error:
        raise Refusal(422, "cannot be written", f"This format cannot hold it: {error}.") from error
    suffix = "json" if name in ("label-studio", "argilla") else "jsonl"
    return StreamingResponse(
        (part.encode() for part in parts),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}.{suffix}"'},
    )


def _overview(visitor: Visitor, new_link: str = "", notice: str = "") -> pages.Admin:
    served = visitor.served
    config, store = served.study.config, served.store
    done, wanted = store.items.progress((config.overlap, config.max_overlap))
    times = [one.answered_at for one in store.judgements.counted()]
    people, agreed = works(store), agreements(store)
    has_gold = bool(store.items.expected("gold"))
    figures = [
        pages.Figure("Judgements", f"{done:,} of {wanted:,}"),
        pages.Figure(
            "Pace", f"{per_hour(times, served.participation.clock())}", "in the last hour"
        ),
        pages.Figure("At work now", f"{len(store.leases.all())}", "items on somebody's screen"),
        *(figure for one in agreed for figure in _agreement_figures(one)),
        pages.Figure(
            "Skill is",
            "known answers" if has_gold else "agreement",
            "the share that was right"
            if has_gold
            else "the share of others' answers that is equal",
        ),
    ]
    return pages.Admin(
        figures=figures,
        done=done,
        wanted=wanted,
        plots=_plots(times, wanted, people, agreed, has_gold),
        annotators=[_row(one, has_gold) for one in people],
        disagreements=[
            pages.Disagreement(
                one.item.id,
                _prompt_of(one.item.prompt),
                [(spelt(answer, None), count) for answer, count in one.answers],
            )
            for one in disputed(store)
        ],
        exports=tuple(EXPORTS),
        new_link=new_link,
        notice=notice,
    )


def _agreement_figures(one: Agreement) -> list[pages.Figure]:
    if math.isnan(one.raw):
        return []
    alpha = one.alpha
    return [
        pages.Figure(f"Agreement, {one.name}", f"{one.raw:.0%}", "of pairs of answers are equal"),
        pages.Figure(
            f"Krippendorff’s α, {one.name}",
            "—" if math.isnan(alpha.value) else f"{alpha.value:.2f}",
            f"95 %: {alpha.low:.2f} to {alpha.high:.2f}; 1 is perfect, 0 is chance",
        ),
    ]


def _plots(
    times: list[float],
    wanted: int,
    people: list[Work],
    agreed: list[Agreement],
    has_gold: bool,
) -> list[Markup]:
    dots = [
        plots.Dot(
            one.annotator.pseudonym, one.seconds, _skill(one, has_gold), one.state != "working"
        )
        for one in people
        if not math.isnan(_skill(one, has_gold))
    ]
    return [
        plots.progress_plot(times, wanted),
        plots.skill_plot(dots),
        plots.agreement_plot([share for one in agreed for share in one.by_unit]),
    ]


def _skill(one: Work, has_gold: bool) -> float:
    return one.known_answers.value if has_gold else one.with_others


def _row(one: Work, has_gold: bool) -> pages.AnnotatorRow:
    return pages.AnnotatorRow(
        id=one.annotator.id,
        pseudonym=one.annotator.pseudonym,
        role=one.annotator.role,
        judged=one.judged,
        skill=_known(_skill(one, has_gold)),
        left=_known(one.left.value),
        seconds=_known(one.seconds),
        state=one.state,
        why=one.why,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _prompt_of(prompt: object) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(turn.text for turn in prompt)  # type: ignore[attr-defined]
