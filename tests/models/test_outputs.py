"""Models with several outputs: their losses, metrics and weights, against numbers made with Keras, and by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from layerkit import Model, Sequential, load_model, losses, metrics, optimizers, resume
from layerkit.callbacks import BackupAndRestore, LambdaCallback
from layerkit.data import PyDataset, split_dataset
from layerkit.errors import ArgumentError, DataError, GradientMismatch, LintWarning, ModelFormatError
from layerkit.layers import Dense, Dropout, Embedding, Input, Layer, Softmax
from layerkit.losses import MeanSquaredError
from tests.saving import files

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "outputs.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
SPARSE = "sparse_categorical_crossentropy"


class Branches(Model):
    """A dense layer, and two behind it: one unit, and a softmax over three."""

    def __init__(self, kind="dict", **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        if kind == "names":
            self.output_names = ["left", "right"]
        self.trunk, self.left, self.right = Dense(3, "tanh"), Dense(1), Dense(3, "softmax")

    def call(self, xp, x):
        hidden = self.trunk(x)
        return nested(self.kind, self.left(hidden), self.right(hidden))


def nested(kind, left, right):
    """Return both as the outputs of such a model are."""
    return {"dict": {"left": left, "right": right}, "tuple": (left, right)}.get(kind, [left, right])


RANDOM = np.random.default_rng(0)
X, LEFT, RIGHT = RANDOM.standard_normal((10, 2)), RANDOM.standard_normal((10, 1)), RANDOM.integers(0, 3, 10)
Y = {"left": LEFT, "right": RIGHT}
WEIGHTS = {"left": RANDOM.uniform(size=10), "right": RANDOM.uniform(size=10)}
COMPILED = {
    "loss": {"left": "mse", "right": SPARSE},
    "loss_weights": {"left": 0.5, "right": 2.0},
    "metrics": {"left": ["mae"], "right": ["accuracy"]},
    "weighted_metrics": {"left": ["mae"]},
}


def compiled(kind="dict", xp=None, dtype=None, **options):
    model = Branches(kind, seed=0, backend=xp, dtype=dtype)
    model.compile(**{"optimizer": optimizers.Adam(0.05), **COMPILED, "lint": False, **options})
    return model


# Keras's numbers.


def name_of(case):
    return f"{case['kind']} {case['compile']} {case['options']}"


def of_keras(case, xp, dtype, **how):
    model = Branches(case["kind"], dtype=dtype, backend=xp)
    model.build((None, 2))
    model.set_weights([np.array(values) for values in case["weights"]])
    optimizer = optimizers.Adam(0.0625) if "optimizer" in case["options"] else optimizers.SGD(0.0625)
    model.compile(optimizer, **case["compile"], **how)
    return model


def data_of(case):
    each = [np.array(weight) for weight in case["sample_weight"]]
    kind = "dict" if case["options"].get("by_name") else case["kind"]
    weights = {"each": nested(case["kind"], *each), "one": each[0]}.get(case["options"].get("sample_weight"))
    return np.array(case["x"]), nested(kind, np.array(case["left"]), np.array(case["right"])), weights


@pytest.mark.parametrize(
    ("dtype", "run_eagerly"), [("float32", False), ("float64", True)], ids=["captured", "eager, float64"]
)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_training_of_several_outputs_is_that_of_keras(xp, case, dtype, run_eagerly):
    """History, final weights, evaluation and predictions of three epochs, unshuffled."""
    model = of_keras(case, xp, dtype, **({"run_eagerly": True} if run_eagerly else {"jit_compile": True}))
    x, y, weights = data_of(case)
    given = {"batch_size": 4, "sample_weight": weights, "verbose": 0}
    split = case["options"].get("validation_split", 0.0)
    history = model.fit(x, y, epochs=3, shuffle=False, validation_split=split, **given).history
    expected = case if dtype == "float64" else case["float32"]

    def close(found, expected):
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])

    assert set(history) == set(expected["history"])
    for key, values in expected["history"].items():
        close(history[key], values)
    for found, values in zip(model.get_weights(), expected["final_weights"], strict=True):
        close(found, values)
    by_name = model.evaluate(x, y, return_dict=True, **given)
    assert set(by_name) == set(expected["evaluate"])
    assert list(by_name) == model.metrics_names == [metric for metric in history if not metric.startswith("val_")]
    for key, value in expected["evaluate"].items():
        close(by_name[key], value)
    assert model.evaluate(x, y, **given) == list(by_name.values())
    predicted = model.predict(x, batch_size=4, verbose=0)
    assert type(predicted) is {"dict": dict, "tuple": tuple}.get(case["kind"], list)
    for found, values in zip(
        predicted.values() if isinstance(predicted, dict) else predicted, expected["predict"], strict=True
    ):
        close(found, values)


def test_every_way_to_say_it_is_in_the_table():
    assert {case["kind"] for case in CASES} == {"dict", "list", "tuple", "names"}
    assert {key for case in CASES for key in case["compile"]} == {"loss", "loss_weights", "metrics", "weighted_metrics"}
    assert {case["options"].get("sample_weight") for case in CASES} == {None, "one", "each"}
    assert any(None in case["compile"]["loss"].values() for case in CASES if isinstance(case["compile"]["loss"], dict))


# Names.


@pytest.mark.parametrize(
    ("kind", "options", "names"),
    [
        ("dict", {}, ["loss", "left_loss", "right_loss", "left_mae", "right_accuracy", "left_weighted_mae"]),
        ("dict", {"loss": "mse", "loss_weights": None, "metrics": ["mae", "mse", "mape"], "weighted_metrics": None},
         ["loss", "left_loss", "right_loss",
          "left_mae", "left_mse", "left_mape", "right_mae", "right_mse", "right_mape"]),
        ("list", {"loss": "mse", "loss_weights": None, "metrics": "mae", "weighted_metrics": "mae"},
         ["loss", "mse_loss", "mse_loss_1", "mae", "mae_1", "weighted_mae", "weighted_mae_1"]),
        ("list", {"loss": [MeanSquaredError(), losses.huber], "loss_weights": None, "metrics": None,
                  "weighted_metrics": None}, ["loss", "mean_squared_error_loss", "huber_loss"]),
        ("dict", {"loss": {"left": "mse"}, "loss_weights": {"left": 2.0}, "metrics": None, "weighted_metrics": None},
         ["loss"]),
    ],
)  # fmt: skip
def test_the_keys_of_history_are_in_order(kind, options, names):
    model = compiled(kind, **options)
    model.fit(X, nested(kind, LEFT, np.eye(3)[RIGHT]) if kind == "list" or options else Y, verbose=0)
    assert list(model.history.history) == model.metrics_names == names
    assert model.metrics[0].name == "loss"


def test_a_loss_and_a_metric_may_be_described_by_dictionaries():
    described = {"loss": {"left": losses.serialize(losses.Huber(2.0)), "right": SPARSE}}
    described["metrics"] = {"left": [metrics.serialize(metrics.MeanAbsoluteError(name="far"))]}
    model = compiled(**described, weighted_metrics=None)
    model.fit(X, Y, verbose=0)
    assert model.metrics_names == ["loss", "left_loss", "right_loss", "left_far"]
    assert model.loss["left"].delta == 2.0


class Nests(Model):
    """``{"a": [x, 2 x w], "b": {"c": 3 x}}``."""

    def build(self, input_shape):
        self.w = self.add_weight("w", (), "ones")

    def call(self, xp, x):
        return {"a": [x * self.w, 2.0 * x * self.w], "b": {"c": 3.0 * x * self.w}}


def test_outputs_may_be_nested_deeply(xp):
    model = Nests(backend=xp, dtype="float64")
    model.compile("sgd", {"a": ["mse", None], "b": {"c": "mae"}}, metrics={"a": [None, ["mse"]]}, lint=False)
    y = {"b": {"c": np.zeros((10, 2))}, "a": [np.zeros((10, 2)), np.ones((10, 2))]}
    logs = [model.test_on_batch(X, y, return_dict=True) for _ in range(4)][-1]
    expected = {"a/0_loss": np.mean(X**2), "b/c_loss": np.mean(np.abs(3 * X)), "a/1_mse": np.mean((2 * X - 1) ** 2)}
    expected = {"loss": expected["a/0_loss"] + expected["b/c_loss"], **expected}
    assert list(logs) == list(expected)
    np.testing.assert_allclose(list(logs.values()), list(expected.values()), rtol=1e-12)
    for _ in range(4):
        found = model.predict(X, verbose=0)
    np.testing.assert_array_equal(found["a"][1], 2 * X)
    np.testing.assert_array_equal(found["b"]["c"], 3 * X)


# The same bits in every way to run.


def trained(model, **options):
    given = {"batch_size": 4, "epochs": 5, "verbose": 0, "sample_weight": WEIGHTS, **options}
    history = model.fit(X, Y, **given).history
    return [history, *[weight.tobytes() for weight in model.get_weights()]]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "float64"},
        {"optimizer": optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2)},
        {"loss": {"left": "mse", "right": None}, "loss_weights": None},
    ],
    ids=str,
)
def test_captured_and_eager_have_the_same_bits(xp, options):
    def model(**how):
        own = dict(options)
        if "optimizer" in own:
            own["optimizer"] = type(own["optimizer"]).from_config(own["optimizer"].get_config())
        return compiled(xp=xp, **own, **how)

    captured = model(jit_compile=True)
    assert trained(captured) == trained(model(run_eagerly=True))
    source = captured.program("train").source
    assert re.search(r"def train\((xp, )?x, y_left, y_right, sample_weight_left, sample_weight_right\)", source)


def test_mixed_precision_scales_each_loss():
    found = []
    for how in ({"jit_compile": True}, {"run_eagerly": True}):
        optimizer = optimizers.LossScaleOptimizer(
            optimizers.Adam(0.05), initial_scale=256.0
        )  # beyond which some overflow
        found.append(trained(compiled(dtype="mixed_float16", optimizer=optimizer, **how)))
    assert found[0] == found[1]
    whole = trained(compiled(run_eagerly=True))[0]["loss"]
    np.testing.assert_allclose(found[0][0]["loss"], whole, rtol=1e-2)


def test_a_branch_without_a_loss_is_left_alone():
    model = compiled(loss={"left": "mse"}, loss_weights=None, optimizer="sgd")
    model.build((None, 2))
    before = model.right.get_weights()
    trained(model, sample_weight=None)
    for old, new in zip(before, model.right.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


class HalvesByHand(Layer):
    """The left and the right half of x, with a backward of its own."""

    def forward(self, xp, x):
        return {"left": x[..., :1], "right": x[..., 1:]}, None

    def backward(self, xp, saved, dy):
        return xp.concat([dy["left"], dy["right"]], axis=-1), {}


def test_a_sequential_may_end_with_several_outputs(xp):
    def model(loss, **how):
        made = Sequential([Input((2,)), Dense(4, "tanh"), HalvesByHand()], seed=0, backend=xp, dtype="float64")
        made.compile(optimizers.SGD(0.1), loss, **how)
        return made

    y = {"left": LEFT, "right": np.eye(3)[RIGHT]}
    found = []
    for how in ({"jit_compile": True}, {"run_eagerly": True}):
        several = model({"left": "mse", "right": None}, **how)
        several.fit(X, y, epochs=4, batch_size=5, verbose=0)
        found.append([weight.tobytes() for weight in several.get_weights()])
    assert found[0] == found[1]
    several.check_gradients(X, y)
    one = Sequential([Input((2,)), Dense(4, "tanh")], seed=0, backend=xp, dtype="float64")
    one.compile(optimizers.SGD(0.1), lambda xp, y, p: xp.mean((y - p)[:, :1] ** 2, axis=-1))
    one.fit(X, np.hstack([LEFT, np.eye(3)[RIGHT]]), epochs=4, batch_size=5, verbose=0)
    for weight, other in zip(several.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-12)


# Data.


def test_data_come_in_every_way(tmp_path):
    """Arrays, a memory map, batches of a generator, of lists, and of a PyDataset."""
    np.save(tmp_path / "left.npy", LEFT)
    mapped = {"left": np.load(tmp_path / "left.npy", mmap_mode="r"), "right": RIGHT.tolist()}

    class Batches(PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            rows = slice(4 * index, 4 * index + 4)
            return X[rows], {"left": LEFT[rows], "right": RIGHT[rows]}, {k: w[rows] for k, w in WEIGHTS.items()}

    class Lists:
        """As loaders of PyTorch have it: lists of arrays, which may be nested."""

        def __iter__(self):
            return (list(batch) for batch in Batches())

    expected = trained(compiled(), shuffle=False)
    assert trained(compiled(), shuffle=False, sample_weight=dict(reversed(WEIGHTS.items()))) == expected
    for x, y, weights in (
        (X, mapped, WEIGHTS),
        (Lists(), None, None),
        (Batches(), None, None),
    ):
        model = compiled()
        model.fit(x, y, 4 if y else None, sample_weight=weights, epochs=5, shuffle=False, verbose=0)
        assert [model.history.history, *[weight.tobytes() for weight in model.get_weights()]] == expected


def test_shuffled_and_split_rows_stay_together():
    y = {"left": X[:, :1].copy(), "right": np.zeros(10, int)}
    model = compiled(
        loss={"left": "mse"}, loss_weights=None, metrics=None, weighted_metrics=None, optimizer=optimizers.SGD(0.0)
    )
    model.build((None, 2))
    model.left.set_weights([np.zeros((3, 1)), [0.0]])
    logs = model.fit(
        X, y, batch_size=3, epochs=3, verbose=0, validation_split=0.3, validation_strategy="random"
    ).history
    whole = 7 * np.array(logs["loss"]) + 3 * np.array(logs["val_loss"])
    np.testing.assert_allclose(whole, np.sum(X[:, 0] ** 2), rtol=1e-6)
    (_, left), (_, right) = split_dataset((X, Y), left_size=0.7)
    assert (len(left["left"]), len(right["right"])) == (7, 3)


def test_fit_iter_and_batches_tell_of_each_output():
    model = compiled()
    logs = [epoch.logs for epoch in model.fit_iter(X, Y, epochs=2, verbose=0, validation_data=(X, Y, WEIGHTS))]
    assert list(logs[1]) == [*model.metrics_names, *[f"val_{name}" for name in model.metrics_names]]
    values = model.train_on_batch(X, Y, WEIGHTS)
    assert len(values) == len(model.metrics_names) == 6
    kept = []
    model.predict(
        X, 4, 0, callbacks=[LambdaCallback(on_predict_batch_end=lambda batch, logs: kept.append(logs["outputs"]))]
    )
    assert [outputs["right"].shape for outputs in kept] == [(4, 3), (4, 3), (2, 3)]
    once = model.predict_on_batch(X[:1])
    for _ in range(4):
        again = model.predict_on_batch(X[:1])
    assert {name: array.tobytes() for name, array in once.items()} == {name: a.tobytes() for name, a in again.items()}


def test_a_mask_reaches_each_output(xp):
    class Tagger(Model):
        supports_masking = True

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.words, self.tags, self.kinds = Embedding(5, 3, mask_zero=True), Dense(2), Dense(1)

        def call(self, xp, x):
            hidden = self.words(x)
            return {"tags": self.tags(hidden), "kinds": self.kinds(hidden)}

        def compute_mask(self, xp, x, mask):
            return {"tags": x != 0, "kinds": None}

    x = np.array([[1, 2, 0], [3, 0, 0]])
    y = {"tags": np.ones((2, 3, 2)), "kinds": np.zeros((2, 3, 1))}
    model = Tagger(backend=xp, dtype="float64")
    model.compile("sgd", "mse", metrics={"tags": "mae"}, lint=False)
    logs = [model.test_on_batch(x, y, return_dict=True) for _ in range(4)][-1]
    p, seen = model.predict(x, verbose=0), x != 0
    np.testing.assert_allclose(logs["tags_loss"], np.mean((p["tags"][seen] - 1) ** 2), rtol=1e-12)
    np.testing.assert_allclose(logs["tags_mae"], np.mean(np.abs(p["tags"][seen] - 1)), rtol=1e-12)
    np.testing.assert_allclose(logs["kinds_loss"], np.mean(p["kinds"] ** 2), rtol=1e-12)


# Files.


def test_a_model_that_was_saved_goes_on(tmp_path):
    expected, model = compiled(), compiled()
    trained(expected)
    rest = trained(expected)
    trained(model)
    model.save(tmp_path / "model.layerkit")
    loaded = load_model(tmp_path / "model.layerkit", {"Branches": Branches})
    assert loaded.metrics_names == model.metrics_names
    assert loaded.get_compile_config()["loss_weights"] == {"left": 0.5, "right": 2.0}
    assert loaded.loss["right"].name == SPARSE
    assert trained(loaded) == rest
    loaded.compile_from_config(model.get_compile_config())
    assert loaded.metrics_names[:1] == ["loss"]


def test_a_training_is_resumed(tmp_path):
    class Stop(Exception):
        pass

    def stop(epoch, logs):
        if epoch == 2:
            raise Stop

    def fit(model, *callbacks):
        model.fit(X, Y, 4, 5, 0, [*callbacks], sample_weight=WEIGHTS)
        return [model.history.history, *[weight.tobytes() for weight in model.get_weights()]]

    expected = fit(compiled())
    with pytest.raises(Stop):
        fit(compiled(), BackupAndRestore(tmp_path), LambdaCallback(on_epoch_end=stop))
    model = resume(
        tmp_path, X, Y, sample_weight=WEIGHTS, callbacks=[LambdaCallback()], custom_objects={"Branches": Branches}
    )
    assert [model.history.history, *[weight.tobytes() for weight in model.get_weights()]] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda options: options["loss"]["dict"][0].__setitem__(0, "lefd"),
            "$.compile.loss must be what compile takes. Received: UnknownNameError: compile: loss must be by the names "
            "of the model's outputs, 'left', 'right'. Received: 'lefd'. Did you mean 'left'?",
        ),
        (
            lambda options: options["loss"].update(dict=[["left", "mze"]]),
            "$.compile.loss must be what compile takes. Received: UnknownNameError: loss: the name must be a known one",
        ),
        (
            lambda options: options["loss_weights"].update(dict=[["left", 1.0]]),
            "$.compile.loss_weights must be what compile takes. Received: ArgumentError: compile: loss_weights must "
            "have a number for each loss. Received: none for output 'right', whose loss is sparse_categorical_",
        ),
        (
            lambda options: options["loss_weights"]["dict"][0].__setitem__(1, "much"),
            "$.compile.loss_weights must be what compile takes. Received: ArgumentError: compile: loss_weights must be "
            "numbers. Received: 'much'. ",
        ),
        (
            lambda options: options["metrics"].update(dict=[["middle", ["mae"]]]),
            "$.compile.metrics must be what compile takes. Received: UnknownNameError: compile: metrics must be by the "
            "names of the model's outputs, 'left', 'right'. Received: 'middle'. Known names: left, right.",
        ),
        (
            lambda options: options.update(loss_weight=1.0),
            "$.compile must be what compile takes. Received: ArgumentError: compile: an argument must be one of its "
            "own. Received: loss_weight=1.0. Did you mean 'loss_weights'?",
        ),
    ],
)
def test_a_file_with_wrong_losses_is_refused_with_a_path(change, message, tmp_path):
    path = tmp_path / "model.layerkit"
    model = compiled()
    trained(model)
    model.save(path)

    def changed(value):
        change(value["compile"])

    path.write_bytes(files.with_json(path.read_bytes(), "architecture.json", changed))
    with pytest.raises(ModelFormatError) as caught:
        load_model(path, {"Branches": Branches})
    assert str(caught.value).startswith(f"{path}: architecture.json: {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told[:1], "must have an entry for each output of the model, {'left': …, 'right': …}. Received: "),
        (
            lambda told: [told[0], None],
            "must have numbers for the outputs with a loss or metrics, and null for others.",
        ),
        (lambda told: [told[0][:3], told[1]], "[0] must be the number of axes and the last length of targets and of"),
        (lambda told: told[0], "must have an entry for each output of the model, {'left': …, 'right': …}. Received: "),
    ],
)
def test_a_file_with_wrong_shapes_of_targets_is_refused_with_a_path(change, message, tmp_path):
    path = tmp_path / "model.layerkit"
    model = compiled()
    trained(model)
    model.save(path)

    def changed(value):
        value["metrics"] = change(value["metrics"])

    path.write_bytes(files.with_json(path.read_bytes(), "training.json", changed))
    with pytest.raises(ModelFormatError) as caught:
        load_model(path, {"Branches": Branches})
    place = "" if message.startswith("[") else " "
    assert str(caught.value).startswith(f"{path}: training.json: $.metrics{place}{message}")


# Mistakes.


def test_lint_looks_at_each_output():
    class Mistaken(Branches):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.of_one, self.dropped = Softmax(), Dropout(0.5)

        def call(self, xp, x):
            hidden = self.trunk(x)
            return {"left": self.of_one(self.left(hidden)), "right": self.dropped(self.right(hidden))}

    model = Mistaken(seed=0)
    model.compile("sgd", {"left": "mse", "right": losses.SparseCategoricalCrossentropy(from_logits=True)})
    y = {"left": LEFT, "right": 1 + RIGHT % 2}
    found = model.lint(X, y)
    assert found.names == ["softmax_over_one_unit", "probabilities_as_logits", "labels_from_one"]
    named = [each.sentence.partition(":")[0] for each in found]
    assert named == ["output 'left'", "output 'right'", "output 'right'"]
    with pytest.raises(ArgumentError, match=r"^lint: softmax_over_one_unit: output 'left': a softmax must be over two"):
        model.fit(X, y, verbose=0)


def test_a_first_loss_far_from_chance_is_told_of_its_output():
    model = compiled(lint=True, loss="mse", loss_weights=None, metrics=None, weighted_metrics=None)
    x = np.random.default_rng(0).standard_normal((40, 2))
    with pytest.warns(
        LintWarning, match=r"first_loss_far_from_chance: output 'left': before training, the loss should"
    ):
        model.fit(x, {"left": 1000.0 + x[:, :1], "right": np.zeros((40, 3))}, verbose=0)


def test_a_wrong_loss_is_named_among_several():
    class Wrong(MeanSquaredError):
        def backward(self, xp, saved, dvalues):
            return 1.001 * super().backward(xp, saved, dvalues)

    model = compiled(loss={"left": Wrong(), "right": SPARSE}, metrics=None, weighted_metrics=None)
    with pytest.raises(GradientMismatch, match=r"The mistake is in the loss \(Wrong\.backward: gradient of y_pred\)\."):
        model.check_gradients(X, Y)
    assert all(found.equal for found in compiled().check_gradients(X, Y, WEIGHTS).comparisons)


def test_explain_works_out_each_output():
    model = compiled(optimizer=optimizers.SGD(0.1), dtype="float64")
    model.build((None, 2))
    y = {"left": LEFT[:2], "right": RIGHT[:2]}
    text = str(model.explain(X[:2], y))
    logs = model.test_on_batch(X[:2], y, return_dict=True)
    for name in ("left", "right"):
        assert re.search(rf"of output '{name}'", text)
    one, other = map(float, re.findall(r"\n  L +sum of v / 2 = (\S+)", text))
    assert (one, other) == pytest.approx((logs["left_loss"], logs["right_loss"]), rel=1e-7)
    left, right, whole = map(float, re.search(r"\nL +0\.5 \* (\S+) \+ 2 \* (\S+) = (\S+)", text).groups())
    assert (left, right, whole) == pytest.approx((one, other, logs["loss"]), rel=1e-7)


def test_metrics_of_one_object_are_refused_for_two_outputs():
    mae = metrics.MeanAbsoluteError()
    model = compiled(metrics=[[mae], [mae]], weighted_metrics=None)
    message = (
        "compile: each output needs metrics of its own, which keep its totals. Received: 'mean_absolute_error' for two "
        "of them. Make an object for each, or give its name."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        model.fit(X, Y, verbose=0)


def test_a_refused_target_leaves_an_unbuilt_model_as_it_was():
    model = compiled()
    with pytest.raises(DataError):
        model.fit(X, {"left": LEFT}, verbose=0)
    assert not model.built
    assert trained(model) == trained(compiled())
