"""The parts of the gradient check: the function under test, the oracles, the presentations, the explanation."""
