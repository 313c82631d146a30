"""Reading texts that grow one token at a time: what a rollout asks of a model."""
