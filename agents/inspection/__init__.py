"""What training changed: token by token, word by word, and what the reward went up by."""
