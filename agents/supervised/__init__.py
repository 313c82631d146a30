"""Supervised training of a small language model from scratch: tokenizer, loop, model card."""
