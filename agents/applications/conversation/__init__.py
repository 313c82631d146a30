"""Conversation: a model that reads several turns, its partner, and what people's ratings pay."""
