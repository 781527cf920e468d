"""`cupyx.scipy`: SciPy on device arrays."""
