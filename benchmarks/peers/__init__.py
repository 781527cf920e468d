"""Models written for the peers, with our parameter names, so that weights pass from one to the other unchanged."""
