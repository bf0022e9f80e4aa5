"""The judge is judged: each planted mistake must be found, and correct layers must pass."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.errors import ArgumentError, ContractError, GradientMismatch, MissingDerivativeError, ShapeError
from layerkit.layers import Activation, Dense, Dropout, Flatten, Input, Layer, ReLU, Softmax
from layerkit.overriding import override
from layerkit.testing import check_layer


class Scale(Layer):
    """``y = x · scale + shift``: correct, with a weight that starts at 1; mistakes are planted into it below."""

    def build(self, input_shape):
        self.scale = self.add_weight("scale", (input_shape[-1],), "ones")
        self.shift = self.add_weight("shift", (input_shape[-1],), "zeros")

    def forward(self, xp, x):
        return x * self.scale + self.shift, x

    def backward(self, xp, saved, dy):
        rows = tuple(range(dy.ndim - 1))
        return dy * self.scale, {"scale": xp.sum(dy * saved, axis=rows), "shift": xp.sum(dy, axis=rows)}

    def compute_output_shape(self, input_shape):
        return input_shape


class Halve(Layer):
    """Without weights: keeps half of the elements in training."""

    def build(self, input_shape):
        self.stream = self.add_stream()

    def forward(self, xp, x, *, training=False):
        if not training:
            return x, None
        keep = xp.astype(self.stream.uniform(xp, x.shape) < 0.5, x.dtype)
        return x * keep, keep

    def backward(self, xp, saved, dy):
        return dy if saved is None else dy * saved, {}

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize("shape", [(7, 3), (1, 3), (0, 3), (2, 4, 3)])
def test_a_correct_layer_passes(xp, shape):
    check_layer(Scale(), shape, xp=xp)
    check_layer(Halve(), shape, xp=xp)


def test_the_layer_itself_is_left_alone(xp):
    layer = Dense(2)
    check_layer(layer, (7, 3), xp=xp)
    assert not layer.built
    built = Dense(2)
    built(np.ones((1, 3)))
    before = built.get_weights()
    check_layer(built, (7, 3), xp=xp)
    for old, new in zip(before, built.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


# Wrong derivatives.


class WrongSigmoid(Layer):
    """Off by a thousandth."""

    def forward(self, xp, x):
        y = xp.sigmoid(x)
        return y, y

    def backward(self, xp, saved, dy):
        return dy * saved * (1.0 - saved) * 1.001, {}

    def compute_output_shape(self, input_shape):
        return input_shape


class TransposedDense(Layer):
    """The gradient of a square kernel, transposed."""

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], input_shape[-1]))

    def forward(self, xp, x):
        return xp.matmul(x, self.kernel), x

    def backward(self, xp, saved, dy):
        return xp.matmul(dy, self.kernel.T), {"kernel": xp.matmul(dy.T, saved)}

    def compute_output_shape(self, input_shape):
        return input_shape


class ForgottenFactor(Scale):
    """Right as long as the scale is 1, where it starts."""

    def backward(self, xp, saved, dy):
        return dy, super().backward(xp, saved, dy)[1]


class FirstRowOnly(Scale):
    """The gradient of the shift is that of the first row."""

    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx, {**gradients, "shift": dy[0, :]}


class SlopeBelowZero(Layer):
    """Right for x > 0 alone, beside a kink that must not serve as an excuse."""

    def forward(self, xp, x):
        return xp.where(x > 0, x, 0.1 * x), x

    def backward(self, xp, saved, dy):
        return xp.where(saved > 0, dy, 0.11 * dy), {}

    def compute_output_shape(self, input_shape):
        return input_shape


class RedrawnMask(Halve):
    """Backward draws a mask of its own instead of the saved one."""

    def backward(self, xp, saved, dy):
        if saved is None:
            return dy, {}
        return dy * xp.astype(self.stream.uniform(xp, dy.shape) < 0.5, dy.dtype), {}


@pytest.mark.parametrize(
    ("layer", "what", "mode"),
    [
        (WrongSigmoid(), "WrongSigmoid.backward: gradient of the input", "inference"),
        (TransposedDense(), "TransposedDense.backward: gradient of kernel", "inference"),
        (ForgottenFactor(), "ForgottenFactor.backward: gradient of the input", "inference"),
        (FirstRowOnly(), "FirstRowOnly.backward: gradient of shift", "inference"),
        (SlopeBelowZero(), "SlopeBelowZero.backward: gradient of the input", "inference"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Layer) else None,
)
def test_a_wrong_derivative_is_found(xp, layer, what, mode):
    with pytest.raises(
        GradientMismatch, match="^" + re.escape(what) + " must be the derivative of forward. "
    ) as caught:
        check_layer(layer, (7, 3), xp=xp)
    assert f"({mode}, float64 on {xp})" in str(caught.value)


def test_the_message_states_rule_numbers_and_a_table(xp):
    with pytest.raises(GradientMismatch) as caught:
        check_layer(WrongSigmoid(), (7, 3), xp=xp)
    sentence, empty, header, row = str(caught.value).splitlines()
    number = r"-?\d+\.\d+"
    assert re.fullmatch(
        rf"WrongSigmoid\.backward: gradient of the input must be the derivative of forward\. Received: a derivative of "
        rf"({number}) along a random line, where central differences give ({number}): a relative error of 1\.0e-03 "
        rf"\(inference, float64 on {xp}\)\.",
        sentence,
    )
    assert empty == ""
    assert header.split("  ")[0].strip() == "layer"
    cells = re.split(r"\s{2,}", row)
    assert cells[:3] == ["WrongSigmoid", "inference", "the input"]
    assert float(cells[3]) / float(cells[4]) == pytest.approx(1.001, rel=1e-6)
    assert re.split(r"\s{2,}", header)[3:] == ["backward", "central differences", "relative error", "recorded"]
    assert float(cells[6]) == pytest.approx(float(cells[4]), rel=1e-7)
    assert (cells[5], cells[7]) == ("1.0e-03", "wrong")


@pytest.mark.parametrize("seed", range(5))
def test_a_thousandth_is_found_whatever_the_seed(seed):
    with pytest.raises(GradientMismatch):
        check_layer(WrongSigmoid(), (7, 3), xp="numpy", seed=seed)


def test_a_mistake_in_one_of_ten_thousand_elements_is_found():
    class OneElement(Layer):
        def forward(self, xp, x):
            return xp.tanh(x), x

        def backward(self, xp, saved, dy):
            slope = np.array(1.0 - np.tanh(saved) ** 2)
            if slope.shape[0] > 50:
                slope[50, 50] *= 1.001
            return dy * slope, {}

        def compute_output_shape(self, input_shape):
            return input_shape

    with pytest.raises(GradientMismatch):
        check_layer(OneElement(), (100, 100), xp="numpy", tolerance=1e-8)


# Kinks.


def test_a_kink_at_every_point_of_x_is_stepped_over(xp):
    check_layer(ReLU(), (7, 3), xp=xp, x=np.zeros((7, 3)))
    check_layer(ReLU(max_value=1.0), (4, 3), xp=xp, x=np.tile([0.0, 1.0, 2.0], (4, 1)))


def test_a_wrong_derivative_at_a_kink_is_found_all_the_same(xp):
    with pytest.raises(GradientMismatch, match=r"^SlopeBelowZero\.backward: gradient of the input"):
        check_layer(SlopeBelowZero(), (7, 3), xp=xp, x=np.zeros((7, 3)))


def test_many_kinks_do_not_hide_the_derivative():
    check_layer(ReLU(), (200, 50), xp="numpy")


def test_a_function_without_a_derivative_is_reported_as_such():
    class Steps(Layer):
        def forward(self, xp, x):
            return xp.floor(x * 1e9), None

        def backward(self, xp, saved, dy):
            return dy * 1e9, {}

        def compute_output_shape(self, input_shape):
            return input_shape

    with pytest.raises(GradientMismatch, match=r"The function bends at each of 6 points tried nearby\."):
        check_layer(Steps(), (7, 3), xp="numpy", tolerance=1e-9)


# What else a layer must keep to.


class MutatesInput(Scale):
    def forward(self, xp, x):
        x *= 2.0
        return x * self.scale + self.shift, x


class MutatesCotangent(Scale):
    def backward(self, xp, saved, dy):
        dy *= 1.0001
        return super().backward(xp, saved, dy)


class KeepsInput(Scale):
    def forward(self, xp, x):
        self.x = x
        return super().forward(xp, x)


class KeepsInAList(Scale):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.tape = []

    def forward(self, xp, x):
        self.tape.append(x)
        return super().forward(xp, x)


class CountsInBackward(Scale):
    def backward(self, xp, saved, dy):
        self.passes = getattr(self, "passes", 0) + 1
        return super().backward(xp, saved, dy)


class WritesWeights(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        xp.assign_add(self.shift, -0.1 * gradients["shift"])
        return dx, gradients


class CountsInInference(Scale):
    def build(self, input_shape):
        super().build(input_shape)
        self.calls = self.add_weight("calls", (), "zeros", trainable=False)

    def forward(self, xp, x):
        xp.assign_add(self.calls, 1.0)
        return super().forward(xp, x)


class ForgetsShift(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx, {"scale": gradients["scale"]}


class MisnamesShift(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx, {"scale": gradients["scale"], "bias": gradients["shift"]}


class UnsummedShift(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx, {**gradients, "shift": dy}


class NoInputGradient(Scale):
    def backward(self, xp, saved, dy):
        return None, super().backward(xp, saved, dy)[1]


class ScalarInputGradient(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return xp.sum(dx), gradients


class Widens(Scale):
    """The output is float64, whatever x is."""

    def forward(self, xp, x):
        return xp.astype(super().forward(xp, x)[0], xp.float64), x


class WidensGradient(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return xp.astype(dx, xp.float64), gradients


class ReturnsHostArray(Scale):
    def forward(self, xp, x):
        return [[1.0]], x


class ReturnsOutputAlone(Scale):
    def forward(self, xp, x):
        return super().forward(xp, x)[0]


class ReturnsGradientList(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx, list(gradients.values())


class MisjudgesShape(Scale):
    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2)


class MisjudgesBatch(Scale):
    def compute_output_shape(self, input_shape):
        return tuple(7 if n is None else n for n in input_shape)


class MixesRows(Layer):
    def forward(self, xp, x):
        return x - xp.mean(x, axis=0, keepdims=True), None

    def backward(self, xp, saved, dy):
        return dy - xp.mean(dy, axis=0, keepdims=True), {}

    def compute_output_shape(self, input_shape):
        return input_shape


class DisagreesWithCall(Scale):
    def call(self, xp, x):
        return x * self.scale


class SavedOnClass(Scale):
    """What backward needs lies where the next pass overwrites it."""

    saved = None

    def forward(self, xp, x):
        SavedOnClass.saved = x
        return super().forward(xp, x)[0], None

    def backward(self, xp, saved, dy):
        return super().backward(xp, SavedOnClass.saved, dy)


class StuckMask(Halve):
    """Draws from a counter that never moves."""

    def forward(self, xp, x, *, training=False):
        if not training:
            return x, None
        bits = xp.random_bits((1, 2), self.stream.counter.value, math.prod(x.shape))
        keep = xp.astype(xp.greater(xp.reshape(bits, x.shape), 2**31), x.dtype)
        return x * keep, keep


class ForeignRandomness(Halve):
    """Draws from a generator that no seed of a model reaches."""

    random = np.random.default_rng(0)

    def forward(self, xp, x, *, training=False):
        if not training:
            return x, None
        keep = xp.asarray(self.random.uniform(size=x.shape) < 0.5)
        return xp.where(keep, x, 0.0), xp.astype(keep, x.dtype)


class ForgetsArgument(Scale):
    """A configuration that lacks an argument: its copy is another layer."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def forward(self, xp, x):
        return x * self.scale * self.factor, x

    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx * self.factor, {"scale": gradients["scale"] * self.factor, "shift": gradients["shift"] * 0.0}

    @override
    def get_config(self):
        return {}


VIOLATIONS = [
    (KeepsInput(), r"KeepsInput\.forward: nothing may be kept on self between passes\. Received: a change of self\.x\. "
     r"Return what backward needs as part of `saved`\."),
    (KeepsInAList(), r"KeepsInAList\.forward: nothing may be kept on self between passes\. "
     r"Received: a change of self\.tape\. Return what backward needs as part of `saved`\."),
    (CountsInBackward(), r"CountsInBackward\.backward: nothing may be kept on self between passes\. "
     r"Received: a change of self\.passes\. Return what backward needs as part of `saved`\."),
    (WritesWeights(), r"WritesWeights\.backward: writes_weights/shift must not be written to\. "
     r"Received: a change of 3 of 3 elements\. A word of xp returns a new value\."),
    (CountsInInference(), r"CountsInInference\.forward: counts_in_inference/calls must not be written to\. "
     r"Received: a change of 1 of 1 elements\. A word of xp returns a new value\."),
    (ForgetsShift(), r"ForgetsShift\.backward: there must be a gradient for each trainable weight, and no other: "
     r"scale, shift\. Received: scale"),
    (MisnamesShift(), r"MisnamesShift\.backward: there must be a gradient for each trainable weight, and no other: "
     r"scale, shift\. Received: bias, scale"),
    (UnsummedShift(), r"UnsummedShift\.backward: gradient of shift must have shape \(3,\)\. Received: shape \(7, 3\)"),
    (NoInputGradient(), r"NoInputGradient\.backward: it must return the gradient of the input\. Received: None"),
    (ScalarInputGradient(), r"ScalarInputGradient\.backward: gradient of the input must have shape \(7, 3\)\. "
     r"Received: shape \(\)"),
    (Widens(), r"Widens\.forward: the output must keep the dtype float32\. Received: .*float64"),
    (WidensGradient(), r"WidensGradient\.backward: gradient of the input must keep the dtype float32\. "
     r"Received: .*float64"),
    (ReturnsHostArray(), r"ReturnsHostArray\.forward: the output must be an array of the backend \S+\. "
     r"Received: list\. Compute it with words of xp\."),
    (ReturnsOutputAlone(), r"ReturnsOutputAlone\.forward: it must return \(y, saved\)\. Received: \w+\. "
     r"Return \(y, None\) where backward needs nothing\."),
    (ReturnsGradientList(), r"ReturnsGradientList\.backward: it must return \(dx, grads\), with the gradients "
     r"by name of weight\. Received: list\. Return \(dx, \{\}\) where there are no weights\."),
    (MisjudgesShape(), r"MisjudgesShape\.compute_output_shape: for \(7, 3\), it must tell the shape of y, \(7, 3\)\. "
     r"Received: \(7, 2\)"),
    (MisjudgesBatch(), r"MisjudgesBatch\.compute_output_shape: for \(None, 3\), it must tell the shape of y, "
     r"\(None, 3\)\. Received: \(7, 3\)"),
    (MixesRows(), r"MixesRows\.forward: row 0 of y must depend on row 0 of x alone\. Where it may not, give "
     r"rows_independent=False\. Received: a difference of \S+"),
    (DisagreesWithCall(), r"DisagreesWithCall\.call: it must return the output of forward\. "
     r"Received: a difference of \S+"),
    (SavedOnClass(), r"SavedOnClass\.backward: gradient of scale: it must not depend on what ran between forward and "
     r"backward\. Keep what it needs in `saved`\. Received: a difference of \S+"),
    (StuckMask(), r"StuckMask\.forward: a random layer must draw anew in each training pass\. Received: an output that "
     r"depends on a random stream, which does not move on\. Draw with its methods bits, uniform, normal\."),
    (ForeignRandomness(), r"ForeignRandomness\.forward: the same input and state must give the same output\. "
     r"Draw random numbers from self\.add_stream\(\)\. Received: a difference of \S+"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "sentence"), VIOLATIONS, ids=[type(layer).__name__ for layer, _ in VIOLATIONS])
def test_a_breach_of_contract_is_found(xp, layer, sentence):
    with pytest.raises(ContractError) as caught:
        check_layer(layer, (7, 3), xp=xp)
    assert re.fullmatch(sentence, str(caught.value))


def test_a_mask_that_is_not_the_saved_one_is_found(xp):
    with pytest.raises(ContractError, match=r"^RedrawnMask\.backward: \S+ must not be written to\."):
        check_layer(RedrawnMask(), (7, 3), xp=xp)


def test_writing_to_x_and_dy_is_found_on_numpy_and_refused_by_strict():
    with pytest.raises(
        ContractError, match=r"^MutatesInput: x must not be written to\. Received: a change of 21 of 21"
    ):
        check_layer(MutatesInput(), (7, 3), xp="numpy")
    with pytest.raises(ContractError, match=r"^MutatesCotangent\.backward: dy must not be written to\. "):
        check_layer(MutatesCotangent(), (7, 3), xp="numpy")


def test_rows_may_depend_on_each_other_where_that_is_said(xp):
    check_layer(MixesRows(), (7, 3), xp=xp, rows_independent=False)
    check_layer(Softmax(axis=0), (7, 3), xp=xp, rows_independent=False)


def test_a_configuration_that_forgets_is_found():
    with pytest.raises(ContractError, match=r"^ForgetsArgument: a copy by from_config must compute the same\. "):
        check_layer(ForgetsArgument(2.0), (7, 3), xp="numpy")


def test_a_layer_with_call_alone_is_checked_too(xp):
    class Swish(Layer):
        def call(self, xp, x):
            return x * xp.sigmoid(x)

    check_layer(Swish(), (7, 3), xp=xp)


def test_a_layer_without_backward_says_what_it_lacks(xp):
    class Forward(Layer):
        def forward(self, xp, x):
            return x * 2.0, None

    with pytest.raises(MissingDerivativeError):
        check_layer(Forward(), (7, 3), xp=xp)


def test_an_argument_that_cannot_be_pickled_is_named():
    layer = Dense(2, kernel_initializer=lambda shape, dtype: np.ones(shape, dtype))
    with pytest.raises(
        ContractError, match=r"^Dense: it must be possible to pickle it\. Received: .*lambda.*Use functions"
    ):
        check_layer(layer, (7, 3), xp="numpy")


def test_x_must_have_the_shape_that_is_given():
    sentence = re.escape("check_layer: x must have shape (7, 3). Received: shape (7, 2)")
    with pytest.raises(ContractError, match=f"^{sentence}$"):
        check_layer(Dense(2), (7, 3), x=np.ones((7, 2)))


def test_an_integer_input_needs_no_gradient(xp):
    class Lookup(Layer):
        autocast = False

        def build(self, input_shape):
            self.table = self.add_weight("table", (5, 2))

        def forward(self, xp, x):
            return xp.matmul(xp.one_hot(x, 5, self.dtype), self.table), x

        def backward(self, xp, saved, dy):
            hot = xp.reshape(xp.one_hot(saved, 5, self.dtype), (-1, 5))
            return None, {"table": xp.matmul(hot.T, xp.reshape(dy, (-1, 2)))}

        def compute_output_shape(self, input_shape):
            return (*input_shape, 2)

    check_layer(Lookup(), (7, 3), xp=xp, x=np.random.default_rng(0).integers(0, 5, (7, 3)))


# Layers within layers.


def test_a_model_is_a_layer(xp):
    inner = Sequential([Dense(4, activation="tanh"), Dropout(0.25)])
    check_layer(Sequential([Input((3,)), inner, Activation("softplus"), Dense(2)]), (7, 3), xp=xp)
    check_layer(Sequential([Flatten(), Dense(2)]), (7, 3, 2), xp=xp)


def test_a_model_that_was_added_to_is_checked_whole(xp):
    model = Sequential()
    model.add(Input((3,)))
    model.add(Dense(4, activation="relu"))
    model.add(Dense(2))
    check_layer(model, (7, 3), xp=xp)


def test_a_frozen_layer_needs_no_gradients_of_weights(xp):
    check_layer(Dense(2, trainable=False), (7, 3), xp=xp)
    check_layer(Sequential([Dense(4, trainable=False), Dense(2)]), (7, 3), xp=xp)


def test_a_layer_used_twice_sums_its_gradients(xp):
    shared = Dense(3, activation="tanh")
    check_layer(Sequential([shared, Dense(3), shared]), (7, 3), xp=xp)


def test_errors_of_the_layer_itself_pass_through(xp):
    with pytest.raises(ShapeError):
        check_layer(Dense(2), (7,), xp=xp)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_layer_of_a_dtype_of_its_own_is_checked_in_both(xp, dtype):
    check_layer(Dense(2, dtype=dtype), (7, 3), xp=xp)


class Pair(Layer):
    """Takes no keywords of the base, forgets its constructor, and makes its inner layers in `build`."""

    def __init__(self, units):
        self.units = units

    def build(self, input_shape):
        self.inner = [Dense(self.units, activation="tanh"), Dense(2)]
        self.inner[0].build(input_shape)
        self.inner[1].build((None, self.units))

    def forward(self, xp, x):
        h, first = self.inner[0].forward(xp, x)
        y, second = self.inner[1].forward(xp, h)
        return y, (first, second)

    def backward(self, xp, saved, dy):
        dh, second = self.inner[1].backward(xp, saved[1], dy)
        dx, first = self.inner[0].backward(xp, saved[0], dh)
        named = {f"inner_0/{name}": gradient for name, gradient in first.items()}
        return dx, named | {f"inner_1/{name}": gradient for name, gradient in second.items()}

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2)


def test_a_layer_of_layers_is_checked(xp):
    check_layer(Pair(4), (7, 3), xp=xp)


# What recording forward tells.


class Drowned(Scale):
    """So large that central differences show nothing of the scale; its gradient is twice what it should be."""

    def forward(self, xp, x):
        return super().forward(xp, x)[0] + 1e9, x

    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx, {**gradients, "scale": 2.0 * gradients["scale"]}


def test_a_mistake_that_drowns_in_rounding_is_found_by_recording(xp):
    number = r"-?\d+\.\d+"
    sentence = (
        rf"^Drowned\.backward: gradient of scale must be the derivative of forward\. "
        rf"Received: a derivative of ({number}) along a random line, where the recorded derivative is ({number}): "
        rf"a relative error of 5\.0e-01 \(inference, float64 on {xp}\)\.\n\nlayer  "
    )
    with pytest.raises(GradientMismatch, match=sentence) as caught:
        check_layer(Drowned(), (7, 3), xp=xp)
    found, recorded = map(float, re.match(sentence, str(caught.value)).groups())
    assert found == pytest.approx(2.0 * recorded, rel=1e-7)


def test_a_forward_that_is_not_written_in_words_is_said_to_be_so(xp):
    class OnTheHost(WrongSigmoid):
        def forward(self, xp, x):
            y = xp.asarray(1.0 / (1.0 + np.exp(-np.array(xp.to_numpy(x)))))
            return y, y

    with pytest.raises(GradientMismatch) as caught:
        check_layer(OnTheHost(), (7, 3), xp=xp)
    _, _, header, row, _, reason = str(caught.value).split("\n")
    assert header.endswith("recorded")
    assert re.split(r"\s{2,}", row)[6:] == ["-", "wrong"]
    assert reason == (
        "No derivative could be recorded: ContractError: OnTheHost.forward: a value must not be read on the host: "
        "what depends on it cannot be replayed. Received: xp.to_numpy() of an array of shape (7, 3). "
        "Use words of xp, such as xp.where for a branch."
    )


def test_a_branch_that_is_not_taken_may_have_no_recorded_derivative(xp):
    """The derivative of sqrt at 0 is infinite, and times 0 it is NaN, whatever is chosen then."""

    class Root(Layer):
        def forward(self, xp, x):
            y = xp.where(x > 0, xp.sqrt(xp.maximum(x, 0.0)), 0.0)
            return y, y

        def backward(self, xp, saved, dy):
            return xp.where(saved > 0, 0.5 * dy / xp.where(saved > 0, saved, 1.0), 0.0), {}

        def compute_output_shape(self, input_shape):
            return input_shape

    with np.errstate(divide="ignore", invalid="ignore"):
        check_layer(Root(), (7, 3), xp=xp, x=np.linspace(-1.0, 1.1, 21).reshape(7, 3))


# Reading on the host.


class Asks(Scale):
    """By a branch."""

    def forward(self, xp, x):
        return super().forward(xp, x if xp.sum(x * x) >= 0 else -x)


class Floats(Scale):
    """In backward."""

    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx * (float(xp.sum(dy)) * 0.0 + 1.0), gradients


class Converts(Layer):
    """By NumPy, in a layer with `call` alone."""

    def call(self, xp, x):
        return x * xp.asarray(1.0 + 0.0 * float(np.max(xp.to_numpy(xp.ones_like(x)))), self.dtype)


@pytest.mark.parametrize(
    ("layer", "received"),
    [
        (Asks(), "Asks.forward: {} Received: a branch on, or bool() of an array of shape ()."),
        (Floats(), "Floats.backward: {} Received: float() of an array of shape ()."),
        (Converts(), "Converts.forward: {} Received: xp.to_numpy() of an array of shape (7, 3)."),
    ],
)
def test_a_value_that_is_read_on_the_host_is_found(layer, received):
    rule = "a value must not be read on the host: what depends on it cannot be replayed."
    sentence = f"{received.format(rule)} Use words of xp, such as xp.where for a branch."
    with pytest.raises(ContractError, match=f"^{re.escape(sentence)}$"):
        check_layer(layer, (7, 3), xp="numpy")


# Several inputs and outputs.


class Gate(Layer):
    """``y = scale · a · sigmoid(b)``, and ``a + b``."""

    def build(self, input_shape):
        (*_, features), _ = input_shape
        self.scale = self.add_weight("scale", (features,), "ones")

    def forward(self, xp, x):
        a, b = x
        s = xp.sigmoid(b)
        return (self.scale * a * s, a + b), (a, s)

    def backward(self, xp, saved, dy):
        (a, s), (dy, dz) = saved, dy
        da, db = dy * self.scale * s + dz, dy * self.scale * a * s * (1.0 - s) + dz
        return (da, db), {"scale": xp.sum(dy * a * s, axis=0)}


class RecordedGate(Gate):
    forward, backward = Layer.forward, Layer.backward

    def call(self, xp, x):
        a, b = x
        return [self.scale * a * xp.sigmoid(b), a + b]


@pytest.mark.parametrize("rows", [7, 1, 0])
@pytest.mark.parametrize("layer", [Gate(), RecordedGate()])
def test_a_correct_layer_of_several_inputs_and_outputs_passes(xp, layer, rows):
    check_layer(layer, [(rows, 3), (rows, 3)], xp=xp)


class SecondInput(Gate):
    def backward(self, xp, saved, dy):
        (da, db), gradients = super().backward(xp, saved, dy)
        return (da, 1.001 * db), gradients


class SecondOutput(Gate):
    """Forgets what comes back through the second output."""

    def backward(self, xp, saved, dy):
        return super().backward(xp, saved, (dy[0], xp.zeros_like(dy[1])))


class OneGradient(Gate):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx[0], gradients


class NoSecondGradient(Gate):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return (dx[0], None), gradients


class ShortGradient(Gate):
    def backward(self, xp, saved, dy):
        (da, db), gradients = super().backward(xp, saved, dy)
        return (da, db[:1, :]), gradients


class WidensSecond(Gate):
    def forward(self, xp, x):
        (y, z), saved = super().forward(xp, x)
        return (y, xp.astype(z, xp.float64)), saved


class MisjudgesSecond(Gate):
    def compute_output_shape(self, input_shape):
        return [input_shape[0], (7, 3)]


class MixesSecond(Gate):
    def forward(self, xp, x):
        (y, z), saved = super().forward(xp, x)
        return (y, z + 0.0 * y + xp.sum(x[0])), saved


class MutatesSecond(Gate):
    def forward(self, xp, x):
        if x[1].shape[0] > 1:
            x[1][0, 0] += 1.0
        return super().forward(xp, x)


@pytest.mark.parametrize(
    ("layer", "error", "sentence"),
    [
        (SecondInput(), GradientMismatch, r"SecondInput\.backward: gradient of input 2 must be the derivative .*"),
        (SecondOutput(), GradientMismatch, r"SecondOutput\.backward: gradient of input 1 must be the derivative .*"),
        (OneGradient(), ContractError, r"OneGradient\.backward: it must return a gradient for each input, nested as x "
         r"is, of shapes \[\(7, 3\), \(7, 3\)\]\. Received: shape \(7, 3\)"),
        (NoSecondGradient(), ContractError, r"NoSecondGradient\.backward: it must return the gradient of input 2\. "
         r"Received: None"),
        (ShortGradient(), ContractError, r"ShortGradient\.backward: gradient of input 2 must have shape \(7, 3\)\. "
         r"Received: shape \(1, 3\)"),
        (WidensSecond(), ContractError, r"WidensSecond\.forward: the output must keep the dtype float32\. "
         r"Received: .*float64"),
        (MisjudgesSecond(), ContractError, r"MisjudgesSecond\.compute_output_shape: for \[\(None, 3\), \(None, 3\)\], "
         r"it must tell the shape of y, \[\(None, 3\), \(None, 3\)\]\. Received: \[\(None, 3\), \(7, 3\)\]"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Layer) else None,
)  # fmt: skip
def test_a_mistake_in_one_of_several_inputs_and_outputs_is_found(xp, layer, error, sentence):
    with pytest.raises(error) as caught:
        check_layer(layer, [(7, 3), (7, 3)], xp=xp)
    assert re.fullmatch(sentence, str(caught.value), re.DOTALL)


def test_writing_to_one_of_several_inputs_is_found():
    with pytest.raises(
        ContractError, match=r"^MutatesSecond: x must not be written to\. Received: a change of 1 of 21"
    ):
        check_layer(MutatesSecond(), [(7, 3), (7, 3)], xp="numpy")


def test_rows_of_all_outputs_are_compared(xp):
    class Mixes(RecordedGate):
        def call(self, xp, x):
            y, z = super().call(xp, x)
            return y, z + xp.sum(y)

    with pytest.raises(ContractError, match=r"^Mixes\.forward: row 0 of y must depend on row 0 of x alone\."):
        check_layer(Mixes(), [(7, 3), (7, 3)], xp=xp)
    check_layer(Mixes(), [(7, 3), (7, 3)], xp=xp, rows_independent=False)


def test_one_of_several_inputs_may_be_integers(xp):
    class Picked(Layer):
        autocast = False

        def forward(self, xp, x):
            table, rows = x
            hot = xp.one_hot(rows, table.shape[-1], self.dtype)
            return xp.sum(table * hot, axis=-1), hot

        def backward(self, xp, saved, dy):
            return [xp.expand_dims(dy, axis=-1) * saved, None], {}

        def compute_output_shape(self, input_shape):
            return input_shape[1]

    random = np.random.default_rng(0)
    x = [random.standard_normal((7, 3)), random.integers(0, 3, (7,))]
    check_layer(Picked(), [(7, 3), (7,)], xp=xp, x=x)
    message = "check_layer: x must have shapes [(7, 3), (7,)]. Received: shapes [(7, 3), (6,)]"
    with pytest.raises(ContractError, match=f"^{re.escape(message)}$"):
        check_layer(Picked(), [(7, 3), (7,)], xp=xp, x=[x[0], x[1][:6]])


# Each backend.


class Elsewhere(Scale):
    """Differs by a millionth where NumPy does not compute."""

    def forward(self, xp, x):
        y, saved = super().forward(xp, x)
        return y if "numpy" in str(xp) else 1.000001 * y, saved


class NumpyOnly(Scale):
    def forward(self, xp, x):
        return np.multiply(x, self.scale) + self.shift, x


def test_a_layer_must_give_the_same_on_each_backend_unless_one_is_named():
    pytest.importorskip("array_api_strict")
    check_layer(Scale(), (7, 3))
    message = r"^Elsewhere\.forward: it must give the same on strict:0 as on numpy\. Received: a difference of \S+$"
    with pytest.raises(ContractError, match=message):
        check_layer(Elsewhere(), (7, 3))
    check_layer(Elsewhere(), (7, 3), xp="numpy")


def test_a_layer_that_fails_on_another_backend_says_on_which():
    pytest.importorskip("array_api_strict")
    check_layer(NumpyOnly(), (7, 3), xp="numpy")
    with pytest.raises(TypeError) as caught:
        check_layer(NumpyOnly(), (7, 3))
    note = "This happened on strict:0. With xp='numpy', NumpyOnly is checked there alone."
    assert caught.value.__notes__ == [note]


@pytest.mark.parametrize(
    ("layer", "shape", "sentence"),
    [
        (
            *(Dense, (7, 3)),
            "check_layer: layer must be a layer. Received: <class 'layerkit.layers.dense.Dense'>. "
            "Make an object of it: Dense(…).",
        ),
        *[
            (
                *(Dense(2), shape),
                f"check_layer: input_shape must be a tuple of integers, or a list of such tuples. Received: {shown}. "
                f"An array is given as x, beside its shape.",
            )
            for shape, shown in [
                (np.ones((2, 2)), "ndarray"),
                (3, "3"),
                ((None, 3), "(None, 3)"),
                ((7, 3.0), "(7, 3.0)"),
            ]
        ],
    ],
)
def test_what_is_no_layer_or_no_shape_is_refused(layer, shape, sentence):
    with pytest.raises(ArgumentError) as caught:
        check_layer(layer, shape)
    assert str(caught.value) == sentence
