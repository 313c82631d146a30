"""Whole fine-tuning runs: presets, the pipeline, what it shows and what it writes."""
