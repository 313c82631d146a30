"""What a policy is worth: reward, KL, perplexity and variety of its texts, exact gradients."""
