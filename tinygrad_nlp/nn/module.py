"""Module: parameters, buffers and submodules by attribute name, as PyTorch's, with its keys and its order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from tinygrad_nlp import ops
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.bfloat16 import is_floating
from tinygrad_nlp.autograd.devices import is_device
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.autograd.tensor import as_array
from tinygrad_nlp.nn.loading import IncompatibleKeys, load

PARAMETER, BUFFER, TRANSIENT, MODULE = "parameter", "buffer", "transient buffer", "module"


@explained
def Parameter(data: Any) -> Tensor:  # noqa: N802 - PyTorch's name
    """A leaf Tensor with its own copy of `data` that requires a gradient; numbers become float32, arrays keep theirs.

    There is no class of parameters: a Module registers every leaf that requires a gradient when it is assigned. One
    that is to begin frozen is assigned first and then `requires_grad_(False)`. data (...) -> Tensor (...). Raises
    DtypeError for integers and for what is no array or number.

    >>> nn.Parameter([1.0, 2.0])
    Tensor([1., 2.], requires_grad=True)
    """
    array = as_array(data)
    return Tensor(array.copy() if array is data or type(data) is Tensor else array, requires_grad=True)


@explained
def parameter(shape: Iterable[int], device: str | None = None, dtype: Any = None) -> Tensor:
    """A Parameter of zeros for an initialiser to fill; float32 on the CPU unless said."""
    return ops.zeros(tuple(shape), device=device, dtype=dtype).requires_grad_()


class Module:
    """A function y = f(x; θ) with state: assign parameters, buffers and modules in `__init__`, compute in `forward`.

    A leaf Tensor that requires a gradient becomes a parameter when it is assigned to an attribute, a Module becomes a
    submodule, and `register_buffer` names arrays that are saved but not trained. Raises NotImplementedError if it is
    called and has no `forward`, AttributeError for an assignment before `super().__init__()`, TypeError for one to a
    registered name that is of another kind, KeyError for a name with a dot or that is taken.

    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.a = nn.Parameter(2.0)
    ...     def forward(self, x):
    ...         return self.a * x
    >>> Scale()([1.0, 2.0]).detach()
    Tensor([2., 4.])
    """

    training: bool
    _kinds: dict[str, str]  # attribute -> what it is registered as, in the order of registration

    def __init__(self) -> None:
        object.__setattr__(self, "_kinds", {})
        self.training = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's equation."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    # Registration --------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        kinds = self.__dict__.get("_kinds")
        if kinds is None:
            if isinstance(value, (Tensor, Module)):
                raise self._uninitialised()
        elif isinstance(value, Module):
            kinds[name] = MODULE
        elif isinstance(value, Tensor) and value.requires_grad and value.is_leaf:
            kinds[name] = PARAMETER
        elif name in kinds and value is not None:
            kind = kinds[name]
            if kind == MODULE or not isinstance(value, Tensor) or not value.is_leaf:
                wanted = {MODULE: "a Module or None", PARAMETER: "a leaf Tensor (nn.Parameter) or None"}
                got = "the result of a computation" if isinstance(value, Tensor) else type(value).__name__
                right = wanted.get(kind, "a Tensor or None")
                raise TypeError(f"{type(self).__name__}.{name} is a {kind}: assign {right}, not {got}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._kinds.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        if "_kinds" not in self.__dict__ and not name.startswith("__"):
            raise self._uninitialised()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def _uninitialised(self) -> AttributeError:
        return AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() before anything else")

    def register_parameter(self, name: str, value: Tensor | None) -> None:
        """Register a parameter under a name; None stands for one that is absent, as a bias may be."""
        self._check_new(name)
        if value is not None and not (isinstance(value, Tensor) and value.is_leaf and is_floating(value.dtype)):
            raise TypeError(f"{type(self).__name__}.{name}: a parameter is a floating-point leaf Tensor or None")
        self._kinds[name] = PARAMETER
        object.__setattr__(self, name, value)

    @explained
    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Register a Tensor that moves with the module and, if `persistent`, is in `state_dict`, but is not trained."""
        self._check_new(name)
        value = None if value is None else Tensor(value)
        self._kinds[name] = BUFFER if persistent else TRANSIENT
        object.__setattr__(self, name, value)

    def _check_new(self, name: str) -> None:
        if "_kinds" not in self.__dict__:
            raise self._uninitialised()
        if not name or "." in name:
            raise KeyError(
                f"{type(self).__name__}: {name!r} cannot name a parameter, buffer or module: no dots, not empty"
            )
        if hasattr(self, name) and name not in self._kinds:
            raise KeyError(f"{type(self).__name__} already has an attribute {name!r}")

    # What it contains ----------------------------------------------------------------------------------------------

    def _of(self, *kinds: str) -> Iterator[tuple[str, Any]]:
        """The own attributes of some kinds that are not None, in order of registration."""
        for name, kind in self._kinds.items():
            if kind in kinds and (value := self.__dict__[name]) is not None:
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below with dotted names, parents first, each once."""
        seen = set()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _walk(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self._of(MODULE):
            yield from child._walk(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules, each once."""
        children = list(self._of(MODULE))
        return (c for i, c in enumerate(children) if all(c[1] is not earlier for _, earlier in children[:i]))

    def children(self) -> Iterator[Module]:
        return (m for _, m in self.named_children())

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, parameter); a parameter under several names (tied) comes once, under its first."""
        return self._named(prefix, recurse, PARAMETER)

    def parameters(self, recurse: bool = True) -> Iterator[Tensor]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer), each once."""
        return self._named(prefix, recurse, BUFFER, TRANSIENT)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def _named(self, prefix: str, recurse: bool, *kinds: str) -> Iterator[tuple[str, Tensor]]:
        seen = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, tensor in module._of(*kinds):
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield f"{path}.{name}" if path else name, tensor

    # State ---------------------------------------------------------------------------------------------------------

    def _saved(self) -> Iterator[tuple[str, Tensor]]:
        """What `state_dict` holds: a module's parameters, its buffers, then its children's; all names of tied ones."""
        for path, module in self._walk():
            for kind in (PARAMETER, BUFFER):
                for name, tensor in module._of(kind):
                    yield f"{path}.{name}" if path else name, tensor

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and persistent buffers as NumPy arrays, under PyTorch's keys in PyTorch's order."""
        return {name: np.array(tensor.detach().numpy(), copy=True) for name, tensor in self._saved()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy arrays or Tensors into the parameters and buffers of the same names, in place, cast to their dtypes.

        Missing and unexpected names are returned, or with `strict` are an error; a shape that differs always is. The
        error lists all of them, and nothing is changed when it is raised.
        """
        return load(type(self).__name__, dict(self._saved()), state, strict)

    # Change --------------------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Switch the module and all below to training (dropout on) or evaluation."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze all parameters (False), or let them learn (E52); the gradient still flows through a frozen layer."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients: `.grad` of every parameter becomes None."""
        for p in self.parameters():
            if p.requires_grad:
                p.grad = None

    def to(self, device: Any = None, dtype: Any = None) -> Self:
        """Move parameters, gradients and buffers to a device, and the floating-point ones to a dtype, in place."""
        if device is not None and not is_device(device):
            device, dtype = None, device
        dtype = None if dtype is None else np.dtype(dtype)
        if dtype is not None and not is_floating(dtype):
            raise TypeError(f"{type(self).__name__}.to: parameters need a floating-point dtype, not {dtype}")
        for tensor in [*self.parameters(), *self.buffers()]:
            target = dtype if is_floating(tensor.dtype) else None
            moved, gradient = tensor.detach().to(device, target), tensor.grad
            if moved.data is tensor.data:
                continue
            tensor.data = moved.data
            if tensor.requires_grad:  # a new leaf: the old one has the old dtype
                tensor.requires_grad_(False).requires_grad_()
                tensor.grad = None if gradient is None else gradient.to(device, target)
        return self

    def apply(self, f: Callable[[Module], Any]) -> Self:
        """Call `f` on every module below and then on this one."""
        for child in self.children():
            child.apply(f)
        f(self)
        return self

    # Text ----------------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets of the module's own line."""
        return ""

    def __repr__(self) -> str:
        if "_kinds" not in self.__dict__:
            return f"<{type(self).__name__}, not initialised>"
        name, own, count = type(self).__name__, self.extra_repr(), _count(self)
        children = [f"  ({key}): {child!r}".replace("\n", "\n  ") for key, child in self._of(MODULE)]
        if not children:
            return f"{name}({own}){count}"
        return "\n".join([f"{name}({count}", *([f"  {own}"] if own else []), *children, ")"])


def _count(module: Module) -> str:
    total = sum(p.size for p in module.parameters())
    frozen = sum(p.size for p in module.parameters() if not p.requires_grad)
    return (f"  # {total:,} parameters" + (f", {frozen:,} frozen" if frozen else "")) if total else ""
