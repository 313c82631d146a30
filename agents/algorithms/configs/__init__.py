"""What each algorithm can be told: frozen dataclasses, without torch."""
