"""What a person sees of an episode: text for the terminal.

Knows nothing of environments. Text from a policy is untrusted: control characters are shown as
escapes and never reach the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping

from text_gym.episode import StopReason


def printable(text: str) -> str:
    r"""Returns the text with control characters, but for line breaks, shown as escapes.

    Example:
        >>> printable("red \x1b[31m alert")
        'red \\x1b[31m alert'
    """
    return "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1]
        for character in text
    )


def render_text(
    prompt: str,
    completion: str,
    stop_reason: StopReason | None = None,
    reward: float | None = None,
    components: Mapping[str, float] | None = None,
) -> str:
    """Returns prompt, completion, and, once they are known, stop reason and reward, line by line.

    Example:
        >>> print(render_text("How are you?", "fine thanks", "eos", 2.0, {"word_count": 2.0}))
        prompt      How are you?
        completion  fine thanks
        stop        eos
        reward      2.0000 (word_count 2.0000)
    """
    lines = [f"prompt      {printable(prompt)}", f"completion  {printable(completion)}"]
    if stop_reason is not None:
        lines.append(f"stop        {stop_reason}")
    if reward is not None:
        parts = ", ".join(f"{name} {value:.4f}" for name, value in (components or {}).items())
        lines.append(f"reward      {reward:.4f}" + (f" ({parts})" if parts else ""))
    return "\n".join(lines)
