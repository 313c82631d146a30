"""What a person sees of an episode: text for the terminal, a picture, a web page.

Knows nothing of environments and policies. Whatever they wrote is untrusted: control characters are
shown as escapes, and never reach the terminal or the page.
"""

from __future__ import annotations

from text_gym.rendering.html import episode_html
from text_gym.rendering.image import render_image, require_font
from text_gym.rendering.pieces import printable, token_pieces
from text_gym.rendering.text import render_text, render_tokens

__all__ = [
    "episode_html",
    "printable",
    "render_image",
    "render_text",
    "render_tokens",
    "require_font",
    "token_pieces",
]
