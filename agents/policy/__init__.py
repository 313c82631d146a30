"""The policy: a causal language model with a value head, and what it says of a batch of tokens."""
