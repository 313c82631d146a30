"""Every page of a study, with something on it. Knows no test."""

from dataclasses import replace

from text_gym.feedback.config import Scale
from text_gym.feedback.items import Turn
from text_gym.feedback.server import pages, plots

FRAME = pages.Frame("Study", csrf="c" * 64, pseudonym="ann", is_admin=True, contact="a@b.example")
JUDGING = pages.Judging(
    lease="l", mode="compare", question="Which?", prompt="Once", texts=("one", " two"),
    ask_strength=True, ask_reason=True, done=3, most=9, can_undo=True, notice="Back.",
)  # fmt: skip
RANKING = replace(JUDGING, mode="rank", texts=("a", "b", "c"), lesson="exam")
RATING = replace(
    JUDGING, mode="rate", texts=("a",), scales=(Scale("true", 0, 2, "no", "yes"), Scale("kind"))
)
CORRECTING = replace(JUDGING, mode="correct", texts=("\nfirst line is empty",), lesson="tutorial")
ADMIN = pages.Admin(
    figures=[pages.Figure("Pace", "3 / h", "last hour")],
    done=3,
    wanted=9,
    plots=[plots.progress_plot([0, 60, 9000], 9), plots.skill_plot([]), plots.agreement_plot([1])],
    annotators=[
        pages.AnnotatorRow("1", "ann", "expert", 3, 0.5, 0.4, 2.0, "working"),
        pages.AnnotatorRow("2", "bob", "annotator", 0, None, None, None, "paused", "Too fast."),
        pages.AnnotatorRow("3", "cy", "annotator", 1, None, None, 1.0, "excluded"),
    ],
    disagreements=[pages.Disagreement("i", "Once", [("A", 2), ("B", 1)])],
    new_link="http://localhost/link/t",
)
EVERY_PAGE = [
    pages.SignIn(),
    pages.SignIn(for_admin=True, is_wrong=True),
    pages.Invitation("/crowd/t", "A1", fields={"workerId": "A1"}),
    pages.Invitation("/join", asks_pseudonym=True, problem="Taken."),
    pages.Consent("# What\n\nText\n\n- point"),
    pages.Guidelines("# What", 2, must_agree=True, is_new=True, has_lessons=True),
    pages.Guidelines("# What", 2, must_agree=False),
    JUDGING, RANKING, RATING, CORRECTING,
    replace(JUDGING, prompt=(Turn("user", "Hi"), Turn("assistant", "Ho"))),
    pages.Explained("Once", ("a", "b"), "A is better", "B is better", False, "Since."),
    pages.Done(3, "CODE", can_undo=True),
    pages.Done(1, is_over=False),
    pages.Stopped("Too fast."),
    pages.Stopped("2 of 5 were right", failed_exam=True),
    pages.About("ann", 3, "2026-01-02", "Wrong."),
    pages.Forgotten(),
    pages.Refused(404, "Nothing here."),
    ADMIN,
]  # fmt: skip
