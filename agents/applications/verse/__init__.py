"""Verse: a small language model learns to keep the form of a haiku."""
