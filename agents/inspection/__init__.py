"""What training changed: token by token, word by word, and what the reward went up by."""

FEWEST_TEXTS = 16
"""Half of which divide the gain, by as many as five things."""
