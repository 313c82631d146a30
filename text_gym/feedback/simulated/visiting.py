"""A simulated person at the pages of a study: opens a link, goes on from page to page, judges.

Everything goes through the pages' own texts and forms, as a browser without JavaScript sends them.
What the pages have to have, whatever they look like:

- where something is judged: the prompt in the element of id `prompt`, the texts in elements of
  class `completion`, as shown from left to right or from top to bottom; a form with the hidden
  field `lease` and the choice `answer`, whose values are `left` and `right` where two are compared.
  Otherwise the form has `place-1`, `place-2`, ... (of the texts as shown), or `rating-NAME` for
  each scale, or the text `text`.
- where somebody only reads on or agrees: a form with the button `go_on`, and `pseudonym` where a
  name is asked.
- at the end: neither.

Knows rewards and manners; nothing of the store or of the server's code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urljoin

import numpy as np

from text_gym.episode import Episode
from text_gym.feedback.answers import Answer, Preferred
from text_gym.feedback.simulated.answering import Manner, compare, pause, rank, rate
from text_gym.feedback.simulated.pages import Form, Page, parse_page
from text_gym.rewards.function import RewardFunction

PLACE, RATING = "place-", "rating-"
TOO_FAST = 429
_SIDES: Mapping[Answer, str] = {Preferred(0): "left", Preferred(1): "right"}


class Client(Protocol):
    """What a visitor needs of an HTTP client that keeps cookies and follows redirects."""

    def get(self, url: str) -> Any:
        """Returns the response to a GET request."""

    def post(self, url: str, *, data: Mapping[str, str]) -> Any:
        """Returns the response to a form that is sent."""


@dataclass
class Visit:
    """Holds what came of a visit."""

    page: Page
    """Where the person is; at the end, a page on which there is nothing to do."""
    judged: list[str] = field(default_factory=list)
    """Ids of the judgements that the server has acknowledged."""


class Visitor:
    """A simulated person.

    Args:
        client: Sends requests; an `httpx2.Client` with the server's address as its base, or a test
            client. It must follow redirects.
        reward: What texts are worth to the person.
        manner: How they answer.
        chance: Draws answers and pauses.
        pseudonym: Under which the person takes part where everybody may come in.
        sleep: Waits.
    """

    def __init__(
        self,
        client: Client,
        reward: RewardFunction,
        manner: Manner,
        chance: np.random.Generator,
        pseudonym: str = "simulated",
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._client = client
        self._reward = reward
        self._manner = manner
        self._chance = chance
        self._pseudonym = pseudonym
        self._sleep = sleep

    def visit(self, link: str, most: int | None = None) -> Visit:
        """Opens a link and does what the pages ask, until nothing is asked.

        Args:
            link: Of this person.
            most: Judgements, then the person leaves; None: as many as there are.

        Raises:
            ConnectionError: If the server refuses a request; names address and status.
        """
        visit = Visit(self._ask(lambda: self._client.get(link)))
        while most is None or len(visit.judged) < most:
            form = visit.page.form_with("answer")
            if form is not None:
                self._judge(visit, form)
            elif (form := visit.page.form_with("go_on")) is not None:
                visit.page = self._go_on(visit.page, form)
            else:
                break
        return visit

    def _go_on(self, page: Page, form: Form) -> Page:
        asked = {"pseudonym": self._pseudonym} if "pseudonym" in form.fields else {}
        return self._send(page, form, asked | {"go_on": form.choices["go_on"][0]})

    def _judge(self, visit: Visit, form: Form) -> None:
        said = self._answer(visit.page, form, len(visit.judged))
        self._sleep(pause(_words(visit.page), self._manner, self._chance))
        visit.page = self._send(visit.page, form, said)
        visit.judged.append(form.fields["lease"])

    def _answer(self, page: Page, form: Form, given: int) -> dict[str, str]:
        """Returns what is filled in."""
        rewards = self._rewards(page)
        scales = [name for name in form.choices if name.startswith(RATING)]
        places = [name for name in (*form.choices, *form.fields) if name.startswith(PLACE)]
        if scales:
            filled = {name: self._rating(rewards[0], form.choices[name], given) for name in scales}
        elif places:
            ranked = rank(rewards, self._manner, given, self._chance).places
            filled = {f"{PLACE}{at}": str(place) for at, place in enumerate(ranked, 1)}
        elif "left" in form.choices["answer"]:
            answer = compare(rewards, self._manner, given, self._chance)
            side = _SIDES.get(answer, "tie")
            return {"answer": side}
        else:
            filled = {}  # a text to be corrected goes back as it stands
        return filled | {"answer": form.choices["answer"][0]}

    def _rating(self, reward: float, steps: Sequence[str], given: int) -> str:
        numbers = sorted(map(int, steps))
        return str(rate(reward, numbers[0], numbers[-1], self._manner, given, self._chance))

    def _rewards(self, page: Page) -> list[float]:
        prompt = page.text("prompt")
        texts = [element.text for element in page.of_class("completion")]
        return list(map(float, self._reward([Episode.from_text(prompt, text) for text in texts])))

    def _send(self, page: Page, form: Form, filled: Mapping[str, str]) -> Page:
        address = urljoin(page.url, form.action)
        if form.method != "post":
            raise ValueError(f"forms must be sent by post, got {form.method} at {address}")
        return self._ask(lambda: self._client.post(address, data={**form.fields, **filled}))

    def _ask(self, request: Callable[[], Any]) -> Page:
        """Returns the page that answers; who is told to wait asks again."""
        response = request()
        while response.status_code == TOO_FAST:
            self._sleep(1.0)
            response = request()
        if response.status_code != 200:
            raise ConnectionError(
                f"the server refuses {response.url}: status {response.status_code}"
            )
        return parse_page(str(response.url), response.status_code, response.text)


def _words(page: Page) -> int:
    texts = [page.text("prompt"), *(element.text for element in page.of_class("completion"))]
    return sum(len(text.split()) for text in texts)
