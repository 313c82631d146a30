"""What a policy is worth, and which of several is better; exact gradients."""
