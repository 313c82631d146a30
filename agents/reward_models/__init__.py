"""Reward models: what people prefer, learnt from what they said."""
