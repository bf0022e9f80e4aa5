"""How a model is trained: what `compile` is given, and what it makes of that."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Unpack

from layerkit import optimizers
from layerkit.checks import check_count, check_flag, check_name, shown
from layerkit.configurable import parameters
from layerkit.dtype_policies import at_least_float32
from layerkit.errors import ArgumentError, NotReadyError
from layerkit.layers.layer import Layer, LayerArguments
from layerkit.names import nearest
from layerkit.nested import is_nest
from layerkit.training.goals import Goals
from layerkit.training.outputs import Outputs
from layerkit.training.step import Inference, Step
from layerkit.training.transfer import CHOICES as TRANSFER_CHOICES
from layerkit.training.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from layerkit.metrics import Metric
    from layerkit.optimizers import Optimizer
    from layerkit.training.run import Run


class Compiled(Layer):
    """A layer with a loss, an optimizer and metrics: what a model is before it knows of data."""

    _bookkeeping = frozenset({"run", "stop_training", "turn", "_compile_options", "_is_to_lint", "_step", "_inference"})

    stop_training: bool = False

    output_names: Sequence[str] | None = None
    """Names for the outputs of a model that returns a list: they are in the keys of History, and `compile` and `fit`
    take dictionaries with them."""

    def __init__(self, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.turn = Turn()
        self.run: Run | None = None  # the `fit` that is under way
        self._step: Step | None = None
        self._inference: Inference | None = None
        self._compile_options: dict[str, Any] = {}
        self._is_to_lint = False

    def compile(
        self,
        optimizer: str | Optimizer | type[Optimizer] = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        *,
        transfer: str = "auto",
        on_nonfinite: str = "warn",
        lint: bool = True,
        **unknown: Any,
    ) -> None:
        """Say how to train.

        A model whose `call` returns several outputs, in a list or dictionary, has a loss for each, which are added, and
        metrics for each; so does `fit` take targets and sample weights::

            model.compile("adam", {"price": "mse", "kind": "poisson"}, {"price": 0.1, "kind": 1.0},
                          metrics={"price": ["mae"]})
            model.fit(x, {"price": price, "kind": kind})

        Args:
            optimizer: a name or an `Optimizer`.
            loss: a name, a `Loss`, or a function of `layerkit.losses`. For several outputs one for all, or one for
                each, in a list or dictionary as the outputs are; None for an output that is not trained.
            loss_weights: by how much each loss counts, numbers nested as the outputs are; History tells of losses
                without them.
            metrics: names, `Metric`s, losses, or functions f(y_true, y_pred), in a list; measured without sample
                weights. For several outputs, such a list for each, nested as the outputs are; or one for all, unless it
                is as long as there are outputs: then it has one metric for each, as in Keras.
            weighted_metrics: the same, measured with sample weights.
            run_eagerly: True never records a step: each is run line by line, for debugging.
            steps_per_execution: accepted for Keras's sake: a step alone is run as fast as one of several, and callbacks
                are told of each.
            jit_compile: whether steps are recorded and replayed: "auto" where that is possible, with a warning where it
                is not; True, or else an error; False never.
            auto_scale_loss: whether the optimizer of a model whose dtype is "mixed_float16" is put into a
                `LossScaleOptimizer`, unless it has a `loss_scale_factor`.
            transfer: what happens to data that lie elsewhere than the model, in `fit`, `evaluate`, `predict`, … or
                ``model(x)``: "auto" copies them; "warn" does, and says once a call how many bytes; "error" refuses.
                Predictions, which come to the host, do not count, nor does the loss at an epoch's end.
            on_nonfinite: what happens where the loss or a weight becomes NaN or infinite in `fit`: "warn" stops there,
                with weights, optimizer and metrics as they were before that batch, and says where it began: `fit`
                returns the epochs that were whole. "error" does the same, and raises `NonFiniteError`. "ignore" does
                not look. To go on without that batch is no choice: of numbers that have grown too large, the next
                batch has the same, and of a row that is wrong, each epoch. An optimizer that scales the loss leaves
                such steps out by itself, and there "warn" goes on. Steps are looked at in a hundredth of the time,
                and taken again to find the one at fault. Up to 256 MiB of state are copied for that, with "error"
                any number.
            lint: whether the first `fit` looks for mistakes: see `lint`.
            unknown: nothing else is taken.

        Raises:
            UnknownNameError: a name is not known; the nearest is suggested.
            ArgumentError: a value is none of those above.
        """
        refuse_unknown("compile", unknown, Compiled.compile)
        if jit_compile not in ("auto", True, False):
            raise ArgumentError(
                f"compile: jit_compile must be 'auto', True or False. Received: jit_compile={jit_compile!r}"
            )
        check_flag("compile", run_eagerly=run_eagerly)
        check_count("compile", 1, steps_per_execution=steps_per_execution)
        check_flag("compile", auto_scale_loss=auto_scale_loss)
        check_name("compile", TRANSFER_CHOICES, transfer=transfer)
        check_name("compile", ("warn", "error", "ignore"), on_nonfinite=on_nonfinite)
        self._is_to_lint = check_flag("compile", lint=lint)
        self._compile_options = {"run_eagerly": run_eagerly, "jit_compile": jit_compile, "transfer": transfer}
        self._compile_options["on_nonfinite"] = on_nonfinite
        self._compile_options["auto_scale_loss"] = auto_scale_loss
        if run_eagerly and jit_compile is True:
            warnings.warn(
                "compile: a step that runs eagerly is not compiled. Received: run_eagerly=True and jit_compile=True. "
                "jit_compile is taken as False.",
                stacklevel=2,
            )
        goals = Goals(loss, loss_weights, metrics, weighted_metrics)
        self._check_goals(goals)
        made = optimizers.get(optimizer)
        if auto_scale_loss and self._policy == "mixed_float16" and made.loss_scale_factor is None:
            made = made if isinstance(made, optimizers.LossScaleOptimizer) else optimizers.LossScaleOptimizer(made)
        self._inference = None
        self._step = Step(
            self,
            made,
            goals,
            False if run_eagerly else jit_compile,
            on_nonfinite,
        )

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._step is not None

    @property
    def step(self) -> Step | None:
        """What `compile` made: the steps of training; None before."""
        return self._step

    def _check_goals(self, goals: Goals) -> None:
        """Check that losses and metrics are those of the model's outputs, if it is built, so that these are known."""
        if self.built:
            goals.names(Outputs(self.output_shape, self.output_names))

    def _compiled(self, caller: str) -> Step:
        if self._step is None:
            raise NotReadyError(
                f"{caller}: the model must be compiled first. Received: a model without loss and optimizer. "
                f"Call compile(optimizer, loss)."
            )
        return self._step

    @property
    def loss_dtype(self) -> str:
        """The dtype of the loss, of targets, and of outputs where they are compared with them: float32 at least."""
        return at_least_float32(self.compute_dtype)

    @property
    def inference(self) -> Inference:
        """The step of `predict`."""
        if self._inference is None:
            self._inference = Inference(self, "auto" if self._step is None else self._step.jit_compile)
        return self._inference

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile`, as objects and names."""
        step = self._compiled("get_compile_config")
        goals = step.goals
        weights = {} if goals.loss_weights is None else {"loss_weights": goals.loss_weights}
        metrics = {"metrics": _listed(goals.metrics), "weighted_metrics": _listed(goals.weighted_metrics)}
        return {"optimizer": step.optimizer, "loss": goals.given} | weights | metrics | self._compile_options

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile with what `get_compile_config` returned."""
        self.compile(**config)

    @property
    def run_eagerly(self) -> bool:
        """Whether no step is recorded, as `compile` was told; it may be set at any time, for debugging."""
        return bool(self._compile_options.get("run_eagerly", False))

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        step = self._compiled("run_eagerly")
        self._compile_options["run_eagerly"] = check_flag("run_eagerly", run_eagerly=value)
        step.record(False if value else self._compile_options["jit_compile"])
        self._inference = None

    @property
    def jit_compile(self) -> bool | str:
        """Whether steps are recorded and replayed, as `compile` was told: "auto", True or False."""
        return self._compile_options.get("jit_compile", "auto")

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer that `compile` was given."""
        return self._compiled("optimizer").optimizer

    @property
    def loss(self) -> Any:
        """The loss that `compile` was given, a `Loss`; of several a list or dictionary."""
        return self._compiled("loss").goals.loss

    @property
    def metrics(self) -> list[Metric]:
        """The mean loss, those of several outputs, and the metrics, whose totals are those of the last epoch."""
        return [] if self._step is None else list(self._step.all_metrics)

    @property
    def metrics_names(self) -> list[str]:
        """The keys of History."""
        return [] if self._step is None else list(self._step.names)

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the loss and the metrics by their names, of the batches since the last reset."""
        return self._compiled("get_metrics_result").logs()

    def reset_metrics(self) -> None:
        """Set the totals of all metrics to 0."""
        self._compiled("reset_metrics").reset()


def refuse_unknown(owner: str, unknown: Mapping[str, Any], function: Any) -> None:
    """Refuse keywords that a method does not take, with the nearest that it does.

    Raises:
        ArgumentError: there are such.
    """
    if unknown:
        name = min(unknown)
        raise ArgumentError(
            f"{owner}: an argument must be one of its own. Received: {name}={shown(unknown[name])}. "
            f"{nearest(name, parameters(function)[0][1:])}"
        )


def _listed(identifiers: Any) -> Any:
    if identifiers is None:
        return []
    return identifiers if is_nest(identifiers) else [identifiers]
