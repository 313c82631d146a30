"""The texts that a study begins with, for the researcher to complete: guidelines and consent.

Knows nothing of how they are shown: a blank line ends a paragraph, "# " begins a heading and "- " a
point of a list.
"""

from __future__ import annotations

from collections.abc import Mapping

from text_gym.feedback.answers import Mode

_ANY_MODE = """
# In any case

- Judge the text itself. Who or what wrote it is not shown, and the order is drawn by lot.
- Take the time that you need; there is no prize for haste.
- If you cannot tell, or would rather not read it, skip it. That is never held against you.
- You can take back your last answer.
"""

GUIDELINES: Mapping[Mode, str] = {
    "compare": f"""# What you do

You see the beginning of a text, or a conversation, and two ways in which it goes on. Say which one
is better.

# What better means

- It answers what was asked, and nothing in it is wrong.
- It reads well: one would gladly have written it.
- A longer text is not a better one.

Choose "equal" if you would flip a coin, and "both bad" if you would want to send neither.
{_ANY_MODE}""",
    "rank": f"""# What you do

You see the beginning of a text, or a conversation, and several ways in which it goes on. Give every
one its place: 1 is the best. Texts that are equally good share a place.

# What better means

- It answers what was asked, and nothing in it is wrong.
- It reads well: one would gladly have written it.
- A longer text is not a better one.
{_ANY_MODE}""",
    "rate": f"""# What you do

You see the beginning of a text, or a conversation, and one way in which it goes on. Rate it on
every scale. Use the ends of a scale when they are deserved.
{_ANY_MODE}""",
    "correct": f"""# What you do

You see the beginning of a text, or a conversation, and one way in which it goes on. Change it
until you would gladly have written it yourself. Change no more than it needs; if nothing is to be
changed, send it as it is.
{_ANY_MODE}""",
}

CONSENT = """# What this is

You are asked to judge texts for a research study. Some of them may be wrong, odd or unpleasant:
they were written by a program.

# What is kept

- The pseudonym under which you take part, and no other name.
- Your answers, when you gave them, and how long each took.
- Nothing is sent to anyone outside this study.

# What you can do

- Stop at any time, without giving a reason.
- Have everything that you said deleted, on the page "About me". What remains then are counts in
  which you cannot be recognised.
"""
