"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tinygrad_nlp.nn.module import Module


class ModuleList(Module):
    """Modules in a list: registered under "0", "1", …, called by whoever holds them."""

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        self.extend(modules)

    def append(self, module: Module) -> Any:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} holds modules, not {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        for module in modules:
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[Module]:
        return (self.__dict__[name] for name in self._kinds)

    def __getitem__(self, index: int | slice) -> Any:
        modules = list(self)
        return type(self)(modules[index]) if isinstance(index, slice) else modules[index]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, list(self._kinds)[index], module)


class Sequential(Module):
    """y = f_n(… f_2(f_1(x))): modules in order, as arguments or as a dict of names."""

    def __init__(self, *modules: Any):
        super().__init__()
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], Mapping) else None
        for name, module in named.items() if named is not None else enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential holds modules, not {type(module).__name__}")
            setattr(self, str(name), module)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[Module]:
        return (self.__dict__[name] for name in self._kinds)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential({name: self.__dict__[name] for name in list(self._kinds)[index]})
        return list(self)[index]


class Identity(Module):
    """y = x, whatever the arguments of the constructor."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x
