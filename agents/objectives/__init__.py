"""Objectives: who gets credit for a reward, and what a step of the parameters minimises.

Pure functions of tensors, (B, T) or (B,), masks being True where a token counts. They compute no
log-prob and know no model, no environment, no config and no algorithm: an algorithm is a choice
among them.
"""
