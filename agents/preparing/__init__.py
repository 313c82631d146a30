"""What presets start from that is made of data, once, into the cache: models and reward models."""
