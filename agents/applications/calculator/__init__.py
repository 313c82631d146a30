"""A small model learns to ask a calculator, and to say what it said."""
