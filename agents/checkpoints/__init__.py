"""Saving an agent between updates, atomically, and going on from there bit for bit."""
