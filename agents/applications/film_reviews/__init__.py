"""Going on with film reviews: prompts, a classifier of them, and its reward."""
