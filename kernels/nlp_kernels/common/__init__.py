"""What the hot paths share."""
