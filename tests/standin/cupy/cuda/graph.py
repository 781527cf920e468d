"""`cupy.cuda.Graph`: the tape of a captured stream."""

import numpy as np


class Graph:
    def __init__(self, *args, **params):
        raise NotImplementedError("a graph comes of a captured stream")

    @classmethod
    def _of(cls, tape):
        graph = cls.__new__(cls)
        graph._tape = tape
        return graph

    def launch(self, stream=None):
        with np.errstate(all="ignore"):
            for operation in self._tape:
                operation()

    def upload(self, stream=None):
        pass
