"""What all optimizers share: rates, counts, flat stretches of parameters, growth, moves; and writing one's own."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import layerkit
from layerkit import Variable, optimizers
from layerkit.errors import ArgumentError
from layerkit.optimizers import SGD, Adam, Optimizer, RMSprop

FOUND = [optimizers.NAMES.find(name) for name in optimizers.__all__ if name in optimizers.NAMES]
ALL = [cls for cls in FOUND if not cls.searches]  # test_lbfgs.py and test_levenberg_marquardt.py tell of those
SHAPES = [(3, 2), (2,), (2, 4), (4,)]


def variables_on(xp="numpy", dtype="float64", shapes=SHAPES):
    rng = np.random.default_rng(0)
    xp = layerkit.backend(xp)
    return [Variable(rng.normal(size=shape), dtype, f"w{i}", xp=xp) for i, shape in enumerate(shapes)]


def gradients(step=0, shapes=SHAPES):
    rng = np.random.default_rng(1 + step)
    return [rng.normal(size=shape) for shape in shapes]


def values_of(variables):
    return [variable.numpy() for variable in variables]


class Counted(SGD):
    """Notes the shape of each call of the rule."""

    def rule(self, xp, w, g, slots, step_size):
        self.__dict__.setdefault("calls", []).append(tuple(w.shape))
        return super().rule(xp, w, g, slots, step_size)


class SignDescent(Optimizer):
    """``w ← w - η sign(g)``: an optimizer of a user."""

    def rule(self, xp, w, g, slots, step_size):
        return -step_size * xp.sign(g), {}


class RowNorm(Optimizer):
    """Divides each row's gradient by its norm: a rule that needs the shape of each parameter."""

    elementwise = False
    slot_names = ("seen",)

    def rule(self, xp, w, g, slots, step_size):
        norm = xp.sqrt(xp.sum(g * g, axis=-1, keepdims=True))
        return -step_size * g / norm, {"seen": slots["seen"] + xp.abs(g)}


def test_an_optimizer_of_ones_own_is_a_rule(xp):
    variables = variables_on(xp)
    before, steps = values_of(variables), gradients()
    SignDescent(0.5).apply(steps, variables)
    for old, gradient, variable in zip(before, steps, variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), old - 0.5 * np.sign(gradient), rtol=1e-15)


def test_a_rule_that_is_not_elementwise_sees_each_parameter_in_its_shape(xp):
    variables = variables_on(xp)
    before, steps = values_of(variables), gradients()
    optimizer = RowNorm(0.5)
    optimizer.apply(steps, variables)
    for old, gradient, variable in zip(before, steps, variables, strict=True):
        norm = np.linalg.norm(gradient, axis=-1, keepdims=True)
        np.testing.assert_allclose(variable.numpy(), old - 0.5 * gradient / norm, rtol=1e-13)
    (seen,) = (variable for variable in optimizer.variables if "seen" in variable.name)
    np.testing.assert_allclose(seen.numpy(), np.concatenate([np.abs(g).ravel() for g in steps]), rtol=1e-15)


def test_parameters_side_by_side_are_updated_by_one_call():
    variables, optimizer = variables_on(), Counted(0.1)
    optimizer.apply(gradients(), variables)
    assert optimizer.calls == [(20,)]


def test_a_gap_between_parameters_takes_another_call():
    variables, optimizer = variables_on(), Counted(0.1)
    optimizer.build(variables)
    optimizer.apply([gradients()[i] for i in (0, 2, 3)], [variables[i] for i in (0, 2, 3)])
    assert optimizer.calls == [(6,), (12,)]


@pytest.mark.parametrize("cls", [optimizers.AdamW, optimizers.LossScaleOptimizer])
def test_a_variable_without_a_gradient_stays_as_it_is(cls):
    """Keras warns, and leaves weight decay out, too."""
    optimizer = cls(SGD(0.1)) if cls is optimizers.LossScaleOptimizer else cls(0.1, weight_decay=0.5)
    variables, steps = variables_on(), gradients()
    before = values_of(variables)
    sentence = f"^{optimizer.name}: variables without a gradient stay as they are: w1, w3$"
    with pytest.warns(UserWarning, match=sentence):
        optimizer.apply_gradients([(None if i in (1, 3) else steps[i], variables[i]) for i in range(4)])
    stays = [np.array_equal(old, new) for old, new in zip(before, values_of(variables), strict=True)]
    assert stays == [False, True, False, True]
    with pytest.raises(ArgumentError) as refused:
        optimizer.apply([None, None], variables[:2])
    assert str(refused.value) == f"{optimizer.name}: there must be a gradient. Received: None for w0, w1"
    assert optimizer.iterations == 1


def test_parameters_of_two_dtypes_are_updated_each_in_their_own(xp):
    variables = variables_on(xp, "float32", SHAPES[:2]) + variables_on(xp, "float64", SHAPES[2:])
    before, steps = values_of(variables), gradients()
    SGD(0.1, momentum=0.9).apply(steps, variables)
    for old, gradient, variable in zip(before, steps, variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), old - 0.1 * gradient, rtol=1e-6, atol=1e-7)
        assert variable.numpy().dtype == old.dtype


@pytest.mark.parametrize("clip", [{}, {"clipnorm": 0.5}, {"clipvalue": 0.5}, {"global_clipnorm": 0.5}])
def test_a_model_that_is_frozen_whole_takes_steps_that_change_nothing(clip):
    model = layerkit.Sequential([layerkit.Input((2,)), layerkit.layers.Dense(1)], seed=0)
    model.compile(SGD(0.1, **clip), "mse")
    model.trainable = False
    before = model.get_weights()
    model.fit([[1.0, 2.0]], [[1.0]], verbose=0)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    assert model.optimizer.iterations == 1


def test_the_norm_of_all_gradients_spans_dtypes(xp):
    """A norm of 5: that of 3 ones and of a 4, and so on; every gradient is scaled to a tenth."""
    variables = variables_on(xp, "float32", [(9,)]) + variables_on(xp, "float64", [(1,)])
    before = values_of(variables)
    SGD(1.0, global_clipnorm=0.5).apply([np.ones(9), np.array([4.0])], variables)
    np.testing.assert_allclose(variables[0].numpy(), before[0] - 0.1, rtol=1e-6)
    np.testing.assert_allclose(variables[1].numpy(), before[1] - 0.4, rtol=1e-6)


@pytest.mark.parametrize("cls", ALL)
def test_stretches_cut_for_the_cache_are_updated_as_whole_ones(cls, monkeypatch):
    whole, cut = variables_on(), variables_on()
    one, other = cls(), cls()
    for step in range(2):
        one.apply(gradients(step), whole)
    monkeypatch.setattr(type(layerkit.backend("numpy")), "tile_size", 3)
    for step in range(2):
        other.apply(gradients(step), cut)
    for a, b in zip(values_of(whole), values_of(cut), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cls", ALL)
def test_the_learning_rate_is_read_and_set_with_all_its_digits(cls):
    optimizer = cls(learning_rate=0.1)
    assert optimizer.learning_rate == 0.1
    optimizer.learning_rate = 1 / 3
    assert optimizer.learning_rate == 1 / 3
    assert optimizer.get_config()["learning_rate"] == 1 / 3


@pytest.mark.parametrize("cls", ALL)
def test_a_rate_of_0_moves_nothing(cls):
    variables = variables_on()
    before = values_of(variables)
    cls(learning_rate=0.0).apply(gradients(), variables)
    for old, new in zip(before, values_of(variables), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("cls", ALL)
def test_pairs_of_gradients_and_variables_are_the_same_step(cls):
    left, right = variables_on(), variables_on()
    one, other = cls(), cls()
    for step in range(3):
        one.apply(gradients(step), left)
        other.apply_gradients(zip(gradients(step), right, strict=True))
    for a, b in zip(values_of(left), values_of(right), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.iterations == other.iterations == 3


@pytest.mark.parametrize("wrap", [lambda inner: inner, optimizers.LossScaleOptimizer, lambda inner: Multi(inner)])
def test_constraints_hold_after_a_step_without_a_model(wrap, xp):
    """As in Keras: apply ends with them."""
    first, second, third = variables_on(xp, shapes=[(3,)] * 3)
    first.constraint, second.constraint = layerkit.constraints.NonNeg(), lambda xp, x: xp.clip(x, -0.1, 0.1)
    before = [variable.numpy() for variable in (first, second, third)]
    optimizer = wrap(SGD(0.5))
    optimizer.apply([np.array([1.0, -1.0, 2.0])] * 3, [first, second, third])
    moved = [value - 0.5 * np.array([1.0, -1.0, 2.0]) for value in before]
    if isinstance(optimizer, optimizers.LossScaleOptimizer):
        moved = [value - 0.5 * np.array([1.0, -1.0, 2.0]) / 2**15 for value in before]
    np.testing.assert_allclose(first.numpy(), np.maximum(moved[0], 0), rtol=1e-12)
    np.testing.assert_allclose(second.numpy(), np.clip(moved[1], -0.1, 0.1), rtol=1e-12)
    np.testing.assert_allclose(third.numpy(), moved[2], rtol=1e-12)


def Multi(inner):
    return optimizers.MultiOptimizer(lambda variable: inner)


@pytest.mark.parametrize("cls", ALL)
def test_variables_may_be_left_out_once_they_are_known(cls):
    left, right = variables_on(), variables_on()
    one, other = cls(), cls()
    one.build(left)
    one.apply(gradients())
    other.apply(gradients(), right)
    for a, b in zip(values_of(left), values_of(right), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [lambda: SGD(0.1, 0.9, True), Adam, lambda: RMSprop(0.1, momentum=0.5, centered=True)])
def test_new_variables_leave_the_slots_of_the_old(make):
    """Two variables for two steps, then four: the first two go on as if they had always been beside the others."""
    grown, whole = variables_on(), variables_on()
    growing, apart = make(), make()
    for step in range(2):
        growing.apply(gradients(step)[:2], grown[:2])
        apart.apply(gradients(step)[:2], whole[:2])
    for step in range(2, 4):
        growing.apply(gradients(step), grown)
        apart.apply(gradients(step)[:2], whole[:2])
    for a, b in zip(values_of(grown[:2]), values_of(whole[:2]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_variables_left_out_of_a_step_keep_values_and_slots():
    variables = variables_on()
    optimizer = SGD(0.1, momentum=0.9)
    optimizer.apply(gradients(0), variables)
    after_one = values_of(variables)
    optimizer.apply(gradients(1)[1:], variables[1:])
    np.testing.assert_array_equal(variables[0].numpy(), after_one[0])
    optimizer.apply(gradients(2), variables)
    moved = after_one[0] + 0.9 * (-0.1 * gradients(0)[0]) - 0.1 * gradients(2)[0]
    np.testing.assert_allclose(variables[0].numpy(), moved, rtol=1e-13)


@pytest.mark.parametrize("clip", [{"clipnorm": 0.5}, {"clipvalue": 0.5}, {"global_clipnorm": 0.5}])
def test_a_gradient_of_0_stays_0_when_clipped(clip):
    variables = variables_on()
    before = values_of(variables)
    SGD(0.1, **clip).apply([np.zeros(shape) for shape in SHAPES], variables)
    for old, new in zip(before, values_of(variables), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["deepcopy", "pickle"]
)
def test_a_copy_goes_on_by_itself(cls, copied):
    variables, optimizer = variables_on(), cls()
    optimizer.apply(gradients(0), variables)
    twins, twin = copied((variables, optimizer))
    optimizer.apply(gradients(1), variables)
    twin.apply(gradients(1), twins)
    for a, b in zip(values_of(variables), values_of(twins), strict=True):
        np.testing.assert_array_equal(a, b)
    twin.apply(gradients(2), twins)
    assert (optimizer.iterations, twin.iterations) == (2, 3)
    assert not np.array_equal(variables[0].numpy(), twins[0].numpy())


@pytest.mark.parametrize("cls", ALL)
def test_an_optimizer_that_moves_goes_on_as_one_that_stays(cls):
    moving, staying = variables_on(), variables_on()
    one, other = cls(0.1), cls(0.1)
    for step, place in enumerate(("numpy", "strict", "numpy", "strict:1")):
        xp = layerkit.backend(place)
        for variable in moving:
            variable.move(xp)
        one.move(xp)
        one.apply(gradients(step), moving)
        other.apply(gradients(step), staying)
        assert {variable.xp for variable in one.variables} == {xp}
        for a, b in zip(values_of(moving), values_of(staying), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("cls", ALL)
def test_a_configuration_makes_the_same_optimizer(cls):
    optimizer = cls(learning_rate=0.25, clipnorm=2.0, name="mine")
    twin = cls.from_config(optimizer.get_config())
    assert twin.get_config() == optimizer.get_config()
    assert (twin.name, twin.learning_rate, twin.clipnorm) == ("mine", 0.25, 2.0)
    assert repr(cls(learning_rate=0.25)) == f"{cls.__name__}(learning_rate=0.25)"


@pytest.mark.parametrize("cls", ALL)
def test_names_are_those_of_keras(cls):
    assert type(optimizers.get(cls.__name__)) is cls
    assert type(optimizers.get(cls.__name__.lower())) is cls
    assert type(optimizers.get(cls)) is cls
    made = cls()
    assert optimizers.get(made) is made


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("how", [{"run_eagerly": True}, {"jit_compile": True}], ids=["eager", "replayed"])
def test_fit_ends_with_the_averages_in_the_weights_place(cls, how):
    model = layerkit.Sequential([layerkit.Input((2,)), layerkit.layers.Dense(3)], seed=0, dtype="float64")
    model.compile(cls(0.1, use_ema=True, ema_momentum=0.5), "mse", **how)
    xp, optimizer = model.xp, model.optimizer
    weights, average = [], None
    seen = layerkit.callbacks.LambdaCallback(on_train_batch_end=lambda *_: weights.append(model.get_weights()))
    model.fit(np.ones((8, 2)), np.ones((8, 3)), batch_size=2, epochs=2, verbose=0, callbacks=[seen])
    average = weights[0]
    for later in weights[1:]:
        average = [0.5 * mean + 0.5 * weight for mean, weight in zip(average, later, strict=True)]
    for found, mean, last in zip(model.get_weights(), average, weights[-1], strict=True):
        np.testing.assert_allclose(found, mean, rtol=1e-13)
        assert not np.allclose(found, last)
    assert (str(xp), optimizer.iterations) == ("numpy", 8)


def test_variables_are_left_out_of_weight_decay_by_name_or_one_by_one():
    by_name, one_by_one, neither = variables_on(), variables_on(), variables_on()
    decaying = {"learning_rate": 0.5, "weight_decay": 0.5}
    optimizers_of = [SGD(**decaying), SGD(**decaying), SGD(**decaying)]
    optimizers_of[0].exclude_from_weight_decay(var_names=["w[12]"])
    optimizers_of[1].exclude_from_weight_decay(one_by_one[1:3])
    for optimizer, variables in zip(optimizers_of, (by_name, one_by_one, neither), strict=True):
        before = values_of(variables)
        optimizer.apply([np.zeros(shape) for shape in SHAPES], variables)
        excluded = (1, 2) if variables is not neither else ()
        for index, (old, new) in enumerate(zip(before, values_of(variables), strict=True)):
            np.testing.assert_array_equal(new, old if index in excluded else 0.75 * old)


def test_variables_that_decay_otherwise_are_updated_by_calls_of_their_own():
    variables, optimizer = variables_on(), Counted(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["w1"])
    optimizer.apply(gradients(), variables)
    assert optimizer.calls == [(6,), (2,), (12,)]
