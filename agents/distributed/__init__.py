"""Several processes that learn together, and parameters shared out over them."""
