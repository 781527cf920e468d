"""Every strategy draws what it promises, and everything it promises; a wrong request is told what would be right."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from tinygrad_nlp.testing import LAYOUTS, VALUES, arrays, broadcastable_shapes, cotangents, shapes

shape_of_several = st.lists(st.integers(2, 4), min_size=1, max_size=3).map(tuple)
dtypes = st.sampled_from([np.float32, np.float64])
search = settings(
    max_examples=2000, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True, database=None
)


def finds(strategy, condition):
    """An example that fulfils the condition; NoSuchExample if none is drawn."""
    return find(strategy, condition, settings=search)


# Shapes -------------------------------------------------------------------------------------------------------------


@given(shapes())
def test_shapes_keep_to_their_bounds(shape):
    assert len(shape) <= 3
    assert all(0 <= n <= 4 for n in shape)


@given(shapes(min_dims=2, max_dims=2, min_side=1, max_side=7))
def test_bounds_of_shapes_can_be_set(shape):
    assert len(shape) == 2
    assert all(1 <= n <= 7 for n in shape)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda shape: shape == (),
        lambda shape: 0 in shape,
        lambda shape: shape == (1,),
        lambda shape: len(shape) == 3 and set(shape) == {1},
        lambda shape: len(set(shape)) == len(shape) == 3,
        lambda shape: len(shape) == 2 and shape[0] == shape[1] > 1,
    ],
    ids=["scalar", "empty", "one element", "all sides 1", "all sides different", "square"],
)
def test_shapes_of_every_kind_are_drawn(wanted):
    finds(shapes(), wanted)


@given(st.integers(1, 4).flatmap(lambda n: st.tuples(st.just(n), broadcastable_shapes(n))))
def test_shapes_broadcast_together(drawn):
    n, several = drawn
    assert len(several) == n
    assert all(len(shape) <= 3 for shape in several)
    np.broadcast_shapes(*several)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda a, b: a == b != (),
        lambda a, b: () in (a, b) and a != b,
        lambda a, b: len(a) == len(b) and 1 in a and 1 in b and a != b and np.broadcast_shapes(a, b) not in (a, b),
        lambda a, b: 0 in a and 1 in b,
    ],
    ids=["equal", "with a scalar", "outer product", "empty against 1"],
)
def test_every_kind_of_broadcasting_is_drawn(wanted):
    finds(broadcastable_shapes(2), lambda drawn: wanted(*drawn))


def test_empty_sides_can_be_excluded_from_broadcasting():
    finds(broadcastable_shapes(2, max_side=6), lambda drawn: any(max(s, default=0) > 4 for s in drawn))

    @given(broadcastable_shapes(3, min_side=1))
    def never_empty(several):
        assert not any(0 in shape for shape in several)

    never_empty()


# Values -------------------------------------------------------------------------------------------------------------


@given(arrays(shapes(), np.float32, values=tuple(VALUES)))
def test_an_array_is_finite_and_of_the_dtype_that_was_asked_for(x):
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert x.flags.writeable


@given(st.data(), shape_of_several, dtypes)
def test_kinds_of_values(data, shape, dtype):
    draw = {kind: data.draw(arrays(shape, dtype, values=kind)) for kind in VALUES}
    assert all(x.shape == shape and x.dtype == dtype for x in draw.values())
    assert np.abs(draw["ordinary"]).max() < 10
    assert (draw["positive"] > 0).all()
    assert np.abs(draw["huge"]).max() > 10
    assert np.isfinite(draw["huge"].astype(dtype) ** 3).all()
    assert 0 < np.abs(draw["tiny"]).max() < 0.1
    assert (np.abs(draw["tiny"]).max() ** 3).astype(dtype) > 0
    assert set(draw["ties"].ravel()) <= {-0.75, 0.5, 1.25}
    assert 0 in draw["kinks"]
    at_kinks = np.isin(draw["kinks"], [0, 1, -1]).sum()
    assert abs(at_kinks - draw["kinks"].size / 2) <= 1
    assert np.array_equal(draw["integers"], np.rint(draw["integers"]))
    assert np.abs(draw["integers"]).max() <= 5


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("huge", lambda x: np.abs(x).max() > 1e50),
        ("tiny", lambda x: np.abs(x).max() < 1e-50),
        ("ties", lambda x: (x == x.max()).sum() > 1),
        ("kinks", lambda x: {0.0, 1.0, -1.0} <= set(x.ravel())),
        ("kinks", lambda x: (x == 0).sum() == 2 and x[0] != 0),
        ("integers", lambda x: -5 in x and 5 in x),
        (("positive", "integers"), lambda x: (x < 0).any()),
        (("positive", "integers"), lambda x: (x != np.rint(x)).any()),
    ],
)
def test_the_extremes_of_each_kind_are_drawn(kind, wanted):
    finds(arrays((12,), values=kind), wanted)


@given(arrays(st.sampled_from([(), (0,), (3, 0, 2)]), values=tuple(VALUES)))
def test_scalars_and_empty_arrays(x):
    assert x.shape in ((), (0,), (3, 0, 2))


# Layouts ------------------------------------------------------------------------------------------------------------


@given(st.data(), shape_of_several, dtypes)
def test_layouts(data, shape, dtype):
    draw = {name: data.draw(arrays(shape, dtype, layout=name)) for name in LAYOUTS}
    assert draw["contiguous"].flags.c_contiguous
    assert draw["transposed"].flags.f_contiguous
    assert draw["transposed"].flags.c_contiguous == (len(shape) == 1)
    assert not draw["strided"].flags.c_contiguous
    assert draw["strided"].strides[-1] == 2 * draw["strided"].itemsize
    assert all(s < 0 for s in draw["reversed"].strides)
    assert draw["broadcast"].strides[0] == 0
    assert np.array_equal(draw["broadcast"], np.broadcast_to(draw["broadcast"][:1], shape))
    assert all(x.shape == shape and x.dtype == dtype for x in draw.values())


@given(st.data(), shape_of_several)
def test_what_lies_between_the_entries_of_a_strided_array_is_nan(data, shape):
    x = data.draw(arrays(shape, layout="strided"))
    assert np.isfinite(x).all()
    assert np.isnan(x.base).sum() == x.base.size - x.size


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "broadcast"])
def test_a_layout_does_not_change_the_values(name):
    x = np.random.default_rng(0).normal(size=(3, 4))
    y = LAYOUTS[name](x)
    assert np.array_equal(x, y)
    assert not np.shares_memory(x, y)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0)])
def test_every_layout_of_scalars_and_empty_arrays(name, shape):
    x = np.zeros(shape)
    assert LAYOUTS[name](x).shape == shape


@pytest.mark.parametrize("name", LAYOUTS)
def test_without_a_choice_every_layout_is_drawn_but_the_repeated(name):
    def is_it(x):
        return {
            "contiguous": x.flags.c_contiguous,
            "transposed": x.flags.f_contiguous,
            "strided": x.strides[-1] == 16,
            "reversed": x.strides[-1] < 0,
            "broadcast": x.strides[0] == 0,
        }[name]

    if name == "broadcast":

        @given(arrays((3, 4)))
        def never(x):
            assert not is_it(x)

        never()
    else:
        finds(arrays((3, 4)), is_it)


# Cotangents ---------------------------------------------------------------------------------------------------------


@given(shapes(), st.data())
def test_a_cotangent_is_never_one_number_everywhere(shape, data):
    g = data.draw(cotangents(shape))
    assert g.shape == shape
    assert g.size < 2 or len(np.unique(g)) > 1


@given(st.sampled_from([(3,), (3, 1), (4, 1, 1)]), st.data())
def test_not_where_a_repetition_would_make_it_so_either(shape, data):
    g = data.draw(cotangents(shape, layout="broadcast"))
    assert len(np.unique(g)) == g.size


@pytest.mark.parametrize(
    "wanted", [lambda g: g.strides[0] == 0, lambda g: g.strides[-1] < 0, lambda g: g.strides[-1] > 8]
)
def test_cotangents_come_in_every_layout(wanted):
    finds(cotangents((3, 4)), wanted)


@given(cotangents(st.just((2, 3)), np.float32, layout="strided"))
def test_a_cotangent_of_a_dtype_and_layout(g):
    assert g.dtype == np.float32
    assert g.strides[-1] == 8


# Wrong requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (
            arrays((3,), values="large"),
            "values='large' is not one of ordinary, positive, huge, tiny, ties, kinks, integ",
        ),
        (arrays((3,), values=("tiny", "large")), "values='large' is not one of"),
        (arrays((3,), layout="diagonal"), "layout='diagonal' is not one of contiguous, transposed, strided, reversed"),
        (cotangents((3,), layout="diagonal"), "layout='diagonal' is not one of"),
        (arrays((3,), np.int32), "dtype=int32: floating-point arrays are drawn, float32 or float64"),
        (arrays((3,), layout=()), r"layout=\(\) leaves nothing to draw"),
        (arrays((3, -1)), r"shape=\(3, -1\)"),
        (arrays(3.5), "shape=3.5 is neither a tuple of sizes nor a strategy"),
    ],
)
def test_a_wrong_request_says_what_would_be_right(strategy, words):
    with pytest.raises(ValueError, match=words):
        given(strategy)(lambda x: None)()


@pytest.mark.parametrize("wrong", [{"min_dims": 4}, {"min_side": 9}, {"min_side": -1}])
def test_bounds_that_contradict_each_other(wrong):
    with pytest.raises(InvalidArgument):
        given(shapes(**wrong))(lambda shape: None)()
