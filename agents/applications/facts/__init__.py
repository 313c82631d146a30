"""Asking a language model for facts: what it starts from, how it is asked, and the preset."""
