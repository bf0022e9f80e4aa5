"""Variables, and how they are laid side by side."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

from layerkit.changes import moves
from layerkit.errors import ArgumentError, DataError, ShapeError
from layerkit.xp import Variable, backend, use_backend
from layerkit.xp.state import HoldsState, move, pack

VALUES = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@pytest.fixture
def variable(xp):
    return Variable(VALUES, "float32", "kernel", xp=xp)


def test_a_variable_tells_what_it_is(xp, variable):
    assert (variable.name, variable.path, variable.trainable) == ("kernel", "kernel", True)
    assert (variable.shape, variable.ndim, variable.size, variable.dtype) == ((2, 3), 2, 6, "float32")
    assert variable.xp is xp
    assert variable.value.dtype == xp.float32
    assert repr(variable) == "<Variable path=kernel, shape=(2, 3), dtype=float32, trainable=True>"


def test_numpy_gives_a_copy_that_may_be_written_to(variable):
    host = variable.numpy()
    host[:] = 9.0
    np.testing.assert_array_equal(variable.numpy(), VALUES)
    np.testing.assert_array_equal(np.asarray(variable), VALUES)
    assert np.asarray(variable, np.float64).dtype == np.float64


def test_a_variable_copies_its_first_values(xp):
    host = np.ones(3)
    variable = Variable(host, "float64", "w", trainable=False, xp=xp)
    host[:] = 5.0
    np.testing.assert_array_equal(variable.numpy(), [1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    "give",
    [
        lambda xp: VALUES * 2,
        lambda xp: (VALUES * 2).tolist(),
        lambda xp: (VALUES * 2).astype(np.int32),
        lambda xp: xp.asarray(VALUES * 2, "float32"),
        lambda xp: xp.asarray(VALUES * 2),
        lambda xp: Variable(VALUES * 2, "float64", "other", trainable=False, xp=xp),
        lambda xp: Variable(VALUES * 2, "float64", "other", trainable=False, xp=backend("numpy")),
        lambda xp: Variable(VALUES * 2, "float64", "other", trainable=False, xp=backend("strict:1")),
    ],
    ids=["numpy", "list", "integers", "same", "wider", "variable", "variable of numpy", "variable of another device"],
)
def test_assign_takes_values_of_any_origin(xp, variable, give):
    address = variable.value
    variable.assign(give(xp))
    assert variable.value is address
    assert variable.value.dtype == xp.float32
    np.testing.assert_array_equal(variable.numpy(), VALUES * 2)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (1.5, "float32"),
        (np.ones(2), "float32"),
        ([1, 2], "int64"),
        (np.arange(3, dtype="uint8"), "uint8"),
        (True, "bool"),
    ],
    ids=repr,
)
def test_a_variable_needs_values_alone(values, dtype):
    variable = Variable(values)
    assert (variable.dtype, variable.name, variable.trainable, variable.xp) == (dtype, "variable", True, backend())
    np.testing.assert_array_equal(variable.numpy(), values)
    with use_backend("strict:1"):
        assert Variable(values).xp is backend("strict:1")


def test_what_is_no_variable_is_refused():
    with pytest.raises(DataError) as caught:
        Variable([[1], [2, 3]])
    assert str(caught.value) == ("Variable: values must hold numbers, in rows of equal length. Received: [[1], [2, 3]]")
    with pytest.raises(ArgumentError, match=r"Received: dtype='float33'. Did you mean 'float32'\?"):
        Variable([1.0], "float33")


def test_assign_add_and_assign_sub_change_the_values_in_place(xp):
    variable = Variable([1.0, 2.0], "float32", "weight", trainable=False, xp=xp)
    array = variable.array
    variable.assign_add([0.5, -1.0])
    np.testing.assert_array_equal(variable.numpy(), [1.5, 1.0])
    variable.assign_sub(np.array([1.0, 1.0]))
    np.testing.assert_array_equal(variable.numpy(), [0.5, 0.0])
    assert variable.array is array
    for change in (variable.assign_add, variable.assign_sub):
        with pytest.raises(ShapeError, match="must have the shape of the old"):
            change([[1.0, 2.0]])


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (3, 2), (2, 3, 1), (0, 3)])
def test_assign_takes_no_other_shape(variable, shape):
    text = f"kernel: new values must have the shape of the old, (2, 3). Received: shape {shape}"
    with pytest.raises(ShapeError) as caught:
        variable.assign(np.zeros(shape))
    assert str(caught.value) == text
    np.testing.assert_array_equal(variable.numpy(), VALUES)


@pytest.mark.parametrize("values", ["abc", [["a", "b", "c"]] * 2, [[1, 2, 3], [4, 5]]])
def test_assign_takes_numbers_alone(variable, values):
    with pytest.raises(DataError) as caught:
        variable.assign(values)
    sentence = f"kernel: new values must hold numbers, in rows of equal length. Received: {values!r}"
    assert re.fullmatch(re.escape(sentence) + r"(, of dtype \S+)?", str(caught.value))
    np.testing.assert_array_equal(variable.numpy(), VALUES)


def test_copies_share_no_memory(xp, variable):
    variable.path = "dense/kernel"
    for twin in (copy.deepcopy(variable), pickle.loads(pickle.dumps(variable))):
        assert (twin.name, twin.path, twin.dtype, twin.trainable) == ("kernel", "dense/kernel", "float32", True)
        assert twin.xp is xp
        twin.assign(VALUES * 3)
        np.testing.assert_array_equal(variable.numpy(), VALUES)


def test_a_variable_moves(xp):
    for source, target in ((backend("numpy"), xp), (xp, backend("numpy")), (xp, backend("strict:1"))):
        variable = Variable(VALUES, "float32", "kernel", trainable=False, xp=source)
        variable.move(target)
        assert variable.xp is target
        assert target.owns(variable.value)
        np.testing.assert_array_equal(variable.numpy(), VALUES)


# Side by side.


def made(xp):
    return [
        Variable(VALUES, "float32", "a", trainable=False, xp=xp),
        Variable([7, 8], "int64", "b", trainable=False, xp=xp),
        Variable([9.0, 10.0], "float32", "c", trainable=False, xp=xp),
        Variable(11.0, "float32", "d", trainable=False, xp=xp),
        Variable([12.0], "float64", "e", trainable=False, xp=xp),
        Variable(np.zeros((0, 3)), "float32", "f", trainable=False, xp=xp),
    ]


def test_packed_variables_lie_side_by_side(xp):
    variables = made(xp)
    before = [variable.numpy() for variable in variables]
    pack(variables, xp)
    for variable, values in zip(variables, before, strict=True):
        assert variable.shape == values.shape
        np.testing.assert_array_equal(variable.numpy(), values)
    a, b, c, d, e, f = variables
    assert a.flat is c.flat is d.flat is f.flat
    assert len({id(a.flat), id(b.flat), id(e.flat)}) == 3
    assert [a.offset, c.offset, d.offset, f.offset] == [0, 6, 8, 9]
    np.testing.assert_array_equal(xp.to_numpy(a.flat), [1, 2, 3, 4, 5, 6, 9, 10, 11])


def test_a_write_to_the_flat_array_reaches_the_variables_and_back(xp):
    variables = made(xp)
    pack(variables, xp)
    a, _, c, *_ = variables
    xp.assign(a.flat, xp.asarray(np.arange(9.0), "float32"))
    np.testing.assert_array_equal(a.numpy(), [[0, 1, 2], [3, 4, 5]])
    c.assign([-1.0, -2.0])
    np.testing.assert_array_equal(xp.to_numpy(a.flat), [0, 1, 2, 3, 4, 5, -1, -2, 8])
    xp.assign_add(xp.view(a.flat, 4, 8, (4,)), 10.0)
    np.testing.assert_array_equal(a.numpy(), [[0, 1, 2], [3, 14, 15]])
    np.testing.assert_array_equal(c.numpy(), [9, 8])


def test_an_address_once_given_is_kept(xp):
    variables = made(xp)
    pack(variables, xp)
    arrays, flats = [v.value for v in variables], [v.flat for v in variables]
    late = Variable([1.0, 2.0], "float32", "late", trainable=False, xp=xp)
    pack([*variables, late], xp)
    assert all(v.value is array for v, array in zip(variables, arrays, strict=True))
    assert all(v.flat is flat for v, flat in zip(variables, flats, strict=True))
    assert late.flat is not None
    assert late.flat is not flats[0]


def test_variables_move_together(xp):
    """Those that lie side by side do so there; packing leaves alone what lives elsewhere."""
    source = backend("strict:1")
    variables = made(source)
    pack(variables, source)
    before = [variable.numpy() for variable in variables]
    pack(variables, xp)
    assert {variable.xp for variable in variables} == {source}
    move(variables, xp, together=variables[:4])
    assert all(variable.xp is xp and xp.owns(variable.value) for variable in variables)
    for variable, values in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), values)
    np.testing.assert_array_equal(xp.to_numpy(variables[0].flat), [1, 2, 3, 4, 5, 6, 9, 10, 11])
    assert [variable.flat is None for variable in variables] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("fits", range(4))
def test_variables_of_which_one_cannot_move_stay_where_they_are(xp, fits, monkeypatch):
    variables = made(xp)
    pack(variables[:4], xp)
    before, at = [variable.array for variable in variables], moves()
    full = backend("strict:1")
    state, calls = full.state, iter(range(fits))

    def until_full(values, dtype):
        if next(calls, None) is None:
            raise MemoryError("full")
        return state(values, dtype)

    monkeypatch.setattr(full, "state", until_full)
    with pytest.raises(MemoryError, match="full"):
        move(variables, full, together=variables[:4])
    assert moves() == at
    assert all(variable.xp is xp for variable in variables)
    assert all(variable.array is array for variable, array in zip(variables, before, strict=True))


def test_a_variable_that_moves_leaves_its_flat_array(xp):
    variables = made(xp)
    pack(variables, xp)
    other = backend("strict:1")
    variables[2].move(other)
    assert variables[2].flat is None
    np.testing.assert_array_equal(variables[2].numpy(), [9, 10])
    np.testing.assert_array_equal(variables[0].numpy(), VALUES)


def test_a_copy_of_a_packed_variable_stands_alone(xp):
    variables = made(xp)
    pack(variables, xp)
    twin = copy.deepcopy(variables[0])
    assert twin.flat is None
    twin.assign(VALUES * 0)
    np.testing.assert_array_equal(variables[0].numpy(), VALUES)


# Attributes that read as arrays.


class Holder(HoldsState):
    pass


def test_a_variable_reads_as_its_array(xp, variable):
    holder = Holder()
    holder.kernel = variable
    assert holder.kernel is variable.value
    holder.kernel = VALUES + 1.0
    np.testing.assert_array_equal(variable.numpy(), VALUES + 1.0)
    with pytest.raises(ShapeError, match=r"^kernel: new values must have the shape of the old"):
        holder.kernel = np.zeros(3)


def test_other_attributes_are_plain():
    holder = Holder()
    holder.units = 3
    holder.units = 4
    assert holder.units == 4


def test_an_unknown_attribute_is_named_with_the_nearest(variable):
    holder = Holder()
    holder.kernel = variable
    with pytest.raises(AttributeError) as caught:
        _ = holder.kernal
    assert str(caught.value) == "Holder has no attribute 'kernal'. Did you mean 'kernel'?"
