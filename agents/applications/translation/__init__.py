"""Translation: a small model learns to translate clauses by their nearness to the reference."""
