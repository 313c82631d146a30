"""What somebody is told who may not do what they tried: a status, a line for the log, a sentence.

Knows nothing of pages.
"""

from __future__ import annotations


class Refusal(Exception):
    """Says no, and why.

    Args:
        status: Of HTTP.
        rule: Which rule it was, in a word or two, for the log.
        explanation: For the person, in a sentence or two.
    """

    def __init__(self, status: int, rule: str, explanation: str) -> None:
        super().__init__(explanation)
        self.status = status
        self.rule = rule
        self.explanation = explanation
