"""Collecting episodes: a policy writes in a vector environment, and what happened is kept."""
