"""Human feedback: what is judged, what people said of it, and what that adds up to."""
