"""`cupyx`: what is beside CuPy."""
