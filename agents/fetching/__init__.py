"""What runs need and the package does not hold: downloaded, verified and converted once."""
