"""What runs are about: prompts, models and feedback that belong together."""
