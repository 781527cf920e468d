"""New tensors: float32 on the CPU unless said."""

import numpy as np
from nlp_kernels.errors import DtypeError

from tinygrad_nlp.autograd import Tensor, namespace, primitive
from tinygrad_nlp.autograd.bfloat16 import is_floating, is_numeric
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.autograd.devices import library_of, moved
from tinygrad_nlp.autograd.explain import explained, library_error
from tinygrad_nlp.autograd.tensor import wrap
from tinygrad_nlp.ops.dtypes import float32, int64

__all__ = [
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "to_device",
    "zeros",
    "zeros_like",
]


CUDA, CUDA_MANAGED = 2, 13  # DLPack's numbers for memory of a GPU


def _new(function, device, *args, dtype, **params):
    """What the function of a device's array module makes."""
    try:
        return wrap(getattr(library_of(device), function)(*args, dtype=_numeric(dtype or float32), **params))
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise library_error(function, error, args) from error


def _numeric(dtype):
    """A dtype of numbers or bools."""
    if not is_numeric(np.dtype(dtype)):
        raise DtypeError(f"there are no tensors of dtype {np.dtype(dtype)}")
    return dtype


@explained
def asarray(obj, /, *, dtype=None, device=None, copy=None):
    """A Tensor of numbers, nested lists, an array or a Tensor.  (...) -> (...)

    A Tensor keeps its graph, an array its memory unless `copy`; Python's floats become float32. Raises ShapeError for
    ragged lists, DtypeError for what is no array or dtype, ValueError where `copy=False` cannot be, DeviceError for no
    such device, RuntimeError for a list of tensors that require a gradient.

    >>> tn.asarray([1, 2])
    Tensor([1, 2])
    """
    if type(obj) is Tensor:
        x = obj.to(device, dtype)
        if not copy or x is not obj:
            return x
        return x + 0 if is_floating(x.dtype) else wrap(x.data.copy())
    data = as_array(obj, dtype)
    if copy is False and data is not obj:
        raise ValueError("asarray: a copy is needed to make a Tensor of this object")
    there = data if device is None else moved(data, device)
    return wrap(there.copy() if copy and there is data else there)


def zeros(shape, *, dtype=float32, device=None):
    """A tensor of 0.  sizes (N, C) -> (N, C)

    Raises ShapeError for a negative size, DtypeError for what is no size or dtype, DeviceError for no such device.

    >>> tn.zeros(2)
    Tensor([0., 0.])
    """
    return _new("zeros", device, shape, dtype=dtype)


def ones(shape, *, dtype=float32, device=None):
    """A tensor of 1.  sizes (N, C) -> (N, C)

    Raises ShapeError for a negative size, DtypeError for what is no size or dtype, DeviceError for no such device.

    >>> tn.ones(2)
    Tensor([1., 1.])
    """
    return _new("ones", device, shape, dtype=dtype)


@explained
def full(shape, fill_value, *, dtype=None, device=None):
    """A tensor of one value, whose dtype it takes unless said.  sizes (N, C) -> (N, C)

    Raises ShapeError for a negative size, DtypeError for what is no size, number or dtype, DeviceError for no such
    device.

    >>> tn.full((2,), 7.0)
    Tensor([7., 7.])
    """
    return _new("full", device, shape, fill_value, dtype=as_array(fill_value, dtype).dtype)


def empty(shape, *, dtype=float32, device=None):
    """A tensor whose values are not set.  sizes (N, C) -> (N, C)

    Raises ShapeError for a negative size, DtypeError for what is no size or dtype, DeviceError for no such device.

    >>> tn.empty((2, 3)).shape
    (2, 3)
    """
    return _new("empty", device, shape, dtype=dtype)


def eye(n_rows, n_cols=None, /, *, k=0, dtype=float32, device=None):
    """x[i, j] = 1 where j = i + k, else 0; N columns unless said.  sizes N, M -> (N, M)

    Raises ShapeError for a negative size, DtypeError for what is no size or dtype, DeviceError for no such device.

    >>> tn.eye(2)
    Tensor([[1., 0.],
            [0., 1.]])
    """
    return _new("eye", device, n_rows, n_cols, k=k, dtype=dtype)


def arange(start, /, stop=None, step=1, *, dtype=None, device=None):
    """start, start + step, … below stop; integers give int64, other numbers float32.  -> (N,)

    With one argument it is the stop, and the start 0. Raises ShapeError for a step of 0, DtypeError for what is no
    number or dtype, DeviceError for no such device.

    >>> tn.arange(3)
    Tensor([0, 1, 2])
    """
    if dtype is None:
        integers = all(isinstance(v, (int, np.integer)) for v in (start, step) if v is not None)
        dtype = int64 if integers and (stop is None or isinstance(stop, (int, np.integer))) else float32
    args = (0, start, step) if stop is None else (start, stop, step)
    return _new("arange", device, *args, dtype=dtype)


def linspace(start, stop, /, num, *, dtype=float32, device=None, endpoint=True):
    """x_i = start + i (stop - start) / (N - 1), N = `num`; over N without the endpoint.  -> (N,)

    Raises ShapeError for a negative N, DtypeError for what is no number or dtype, DeviceError for no such device.

    >>> tn.linspace(0, 1, 3)
    Tensor([0. , 0.5, 1. ])
    """
    return _new("linspace", device, start, stop, num, dtype=dtype, endpoint=endpoint)


@explained
def zeros_like(x, /, *, dtype=None, device=None):
    """A tensor of 0 of the shape and dtype of x.  (...) -> (...)

    A constant of the graph. Raises DtypeError for what is no array or dtype, DeviceError for no such device.

    >>> tn.zeros_like([5, 6])
    Tensor([0, 0])
    """
    return _like("zeros_like", x, dtype, device)


@explained
def ones_like(x, /, *, dtype=None, device=None):
    """A tensor of 1 of the shape and dtype of x.  (...) -> (...)

    A constant of the graph. Raises DtypeError for what is no array or dtype, DeviceError for no such device.

    >>> tn.ones_like([5, 6])
    Tensor([1, 1])
    """
    return _like("ones_like", x, dtype, device)


@explained
def empty_like(x, /, *, dtype=None, device=None):
    """A tensor of the shape and dtype of x whose values are not set.  (...) -> (...)

    Raises DtypeError for what is no array or dtype, DeviceError for no such device.

    >>> tn.empty_like([1.0, 2.0]).shape
    (2,)
    """
    return _like("empty_like", x, dtype, device)


@explained
def full_like(x, /, fill_value, *, dtype=None, device=None):
    """A tensor of one value, of the shape and dtype of x.  (...) -> (...)

    A constant of the graph. Raises DtypeError for what is no array or dtype, DeviceError for no such device.

    >>> tn.full_like([1.0, 2.0], 7)
    Tensor([7., 7.])
    """
    x = as_array(x)
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device or device_name(x.device))


def _like(name, x, dtype, device):
    data = as_array(x)
    if device is not None:
        return _new(name.removesuffix("_like"), device, data.shape, dtype=dtype or data.dtype)
    return wrap(getattr(namespace(data), name)(data, dtype=_numeric(dtype or data.dtype)))


@explained
def from_dlpack(x, /, *, device=None, copy=None):
    """A tensor around the memory of another library's CPU or GPU array.  (...) -> (...)

    A constant of the graph. Raises DtypeError for what has no `__dlpack__`, DeviceError for no such device,
    RuntimeError for a Tensor that requires a gradient.

    >>> tn.from_dlpack(np.arange(3))
    Tensor([0, 1, 2])
    """
    if not hasattr(x, "__dlpack_device__"):
        raise DtypeError(f"from_dlpack: {type(x).__name__} has no __dlpack__; asarray takes numbers and lists")
    kind, number = x.__dlpack_device__()
    on_gpu = kind in (CUDA, CUDA_MANAGED)
    data = library_of(f"cuda:{number}").from_dlpack(x) if on_gpu else np.from_dlpack(x, copy=copy)
    return wrap(data.copy() if on_gpu and copy else data).to(device)


@primitive(takes_bfloat16=True)
def to_device(x, device):
    """x on another device, where the gradient comes back from.  (...) -> (...)

    Raises DeviceError for no such device, DtypeError for what is no array or number.

    >>> tn.to_device([1.0], "cpu")
    Tensor([1.])
    """
    return moved(x, device)


@to_device.vjp("x")
def _(g, x_device):
    return g.to(device_name(x_device)) if type(g) is Tensor else to_device.primitive.forward(g, device_name(x_device))


def device_name(device):
    """`"cpu"` or `"cuda:0"` for a NumPy or CuPy device."""
    return "cpu" if device == "cpu" else f"cuda:{device.id}"
