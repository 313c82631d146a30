"""Stable-Baselines3's PPO as a baseline: same environments, same metrics, on toy vocabularies."""
