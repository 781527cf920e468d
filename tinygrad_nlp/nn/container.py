"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from tinygrad_nlp.nn.module import MODULE, Module


class Modules(Module):
    """What ModuleList and Sequential share: length, iteration, and the check of what they hold."""

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self._of(MODULE))

    def _hold(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} holds modules, not {type(module).__name__}")
        self._check_new(name)
        setattr(self, name, module)


class ModuleList(Modules):
    """Modules in a list: registered under "0", "1", …, called by whoever holds them.

    Raises TypeError for what is no Module, IndexError for a number that is not there.

    >>> layers = nn.ModuleList(nn.Linear(n, n + 1) for n in (2, 3))
    >>> len(layers), layers[1].weight.shape, list(layers.state_dict())[0]
    (2, (4, 3), '0.weight')
    """

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        self.extend(modules)

    def append(self, module: Module) -> Self:
        self._hold(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        if not isinstance(modules, Iterable):
            raise TypeError(f"ModuleList takes modules in a list, not {type(modules).__name__}")
        for module in modules:
            self.append(module)
        return self

    def __getitem__(self, index: int | slice) -> Any:
        modules = list(self)
        return type(self)(modules[index]) if isinstance(index, slice) else modules[index]

    def __setitem__(self, index: int, module: Module) -> None:
        self._hold([name for name, _ in self._of(MODULE)][index], module)


class Sequential(Modules):
    """y = f_n(… f_2(f_1(x))): modules in order, as arguments or as a dict of names.  (...) -> (...)

    Raises TypeError for what is no Module, KeyError for a name with a dot or of an attribute, IndexError for a number
    that is not there.

    >>> nn.Sequential(nn.ReLU(), nn.Softmax())([-1.0, 0.0])
    Tensor([0.5, 0.5])
    """

    def __init__(self, *modules: Any):
        super().__init__()
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], Mapping) else None
        for name, module in named.items() if named is not None else enumerate(modules):
            self._hold(str(name), module)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x

    def __getitem__(self, index: int | slice) -> Any:
        held = list(self._of(MODULE))
        return Sequential(dict(held[index])) if isinstance(index, slice) else held[index][1]


class Identity(Module):
    """y = x, whatever the arguments of the constructor.  (...) -> (...)

    >>> nn.Identity(54, bias=False)(3.0)
    3.0
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x
