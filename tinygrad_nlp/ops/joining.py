"""Functions of a list of arrays: they lay pieces into one array, and the gradient takes the pieces out again."""

from tinygrad_nlp.autograd.arrays import namespace
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.autograd.explain import library_error
from tinygrad_nlp.autograd.tensor import Tensor
from tinygrad_nlp.ops.recording import record


class Joining:
    """`forward(xp, arrays, how) -> y` and `backward(g, shapes, how) -> a gradient for each array`."""

    broadcasts = False
    rules = None
    names = tuple(f"arrays[{i}]" for i in range(100))

    def __init__(self, name, forward, backward):
        self.__name__, self.forward, self.backward = name, forward, backward

    def __call__(self, tensors, how):
        arrays = [as_array(x) for x in tensors]
        if not arrays:
            raise ValueError(f"{self.__name__} needs at least one array")
        try:
            y = self.forward(namespace(arrays[0]), arrays, how)
        except (ValueError, TypeError) as error:
            raise library_error(self.__name__, error, arrays) from error
        nodes = [x.node if type(x) is Tensor else None for x in tensors]
        metas = [(x.shape, x.dtype) for x in arrays]
        return record(self, nodes, arrays, (metas, how), y)

    def gradients(self, node, g, needed, create_graph):
        metas, how = node.kept
        parts = self.backward(g, [shape for shape, _ in metas], how)
        for source, part, (_, dtype) in zip(node.sources, parts, metas, strict=True):
            if source is not None and (needed is None or source in needed):
                yield source, part if part.dtype == dtype else namespace(part).astype(part, dtype)


def plain(x):
    """The array of a Tensor, anything else as it is."""
    return x.data if type(x) is Tensor else x
