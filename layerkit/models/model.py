"""The base of models: a layer that can be compiled and trained."""

from __future__ import annotations

import contextlib
import copy
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack
from weakref import ref

from layerkit.callbacks import History
from layerkit.callbacks.backup import Restoring
from layerkit.callbacks.callback import CallbackList, check_callbacks
from layerkit.changes import changes
from layerkit.checks import check_count, check_flag, check_positive, is_a, is_integer
from layerkit.dtype_policies import check_offered
from layerkit.errors import ArgumentError, DataError, NotReadyError, UnknownNameError
from layerkit.layers.layer import Home, Layer, LayerArguments, Shape, Shapes
from layerkit.models.compiled import Compiled, refuse_unknown
from layerkit.models.summary import printable, summary
from layerkit.names import nearest
from layerkit.nested import leaves, mapped
from layerkit.overriding import override
from layerkit.program import active_recorder
from layerkit.training import loop
from layerkit.training.arrays import is_array
from layerkit.training.capture import recording
from layerkit.training.data import ArrayData, BatchData, Rules, check_class_weight, make_data
from layerkit.training.division import check_strategy
from layerkit.training.interrupt import DeferredInterrupt
from layerkit.training.iteration import Training
from layerkit.training.outputs import Outputs
from layerkit.training.progress import Pace, Progress, check_verbose
from layerkit.training.run import Run
from layerkit.training.transfer import Transfers
from layerkit.xp.foreign import brought
from layerkit.xp.random import check_seed, fresh_seed
from layerkit.xp.registry import backend as find_backend
from layerkit.xp.state import move, pack

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Sequence
    from typing import Self

    from layerkit.models.explain import Explanation
    from layerkit.models.gradients import GradientTable
    from layerkit.models.lint import Findings, Lookout
    from layerkit.training.goals import Goals
    from layerkit.training.step import Step
    from layerkit.xp import Array, Backend, Variable

KERAS_STEPS = (
    *("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics"),
    *("make_train_function", "make_test_function", "make_predict_function"),
)
"""Methods by which a model of Keras takes steps of its own; here they would never be called."""


class Model(Compiled):
    """A layer that can be compiled, trained, evaluated and asked for predictions.

    Args:
        seed: from 0 to 2⁶⁴ - 1: the same seed gives the same initial weights, shuffles and dropout masks, on every
            backend. None takes one from the operating system, which `seed` then tells.
        backend: where the model lives: a name such as "numpy" or "cupy:0", or a backend; None is the current one.
        kwargs: what every `Layer` takes.
    """

    _bookkeeping = frozenset({"history", "seed", "shuffles", "_outputs", "_training"})

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse what a functional model is made of: there are none yet."""
        if cls is Model and (args or kwargs.keys() & {"inputs", "outputs"}):
            raise ArgumentError(
                "Model: a model is Sequential([…]), or a subclass of Model with a `call` of its own; from inputs and "
                "outputs none can be made yet. Received: Model(inputs, outputs)."
            )
        return super().__new__(cls, *args, **kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for method in KERAS_STEPS:
            if method in cls.__dict__:
                raise ArgumentError(
                    f"{cls.__name__}.{method}: the steps of a model are not overridden. Received: a method of this "
                    f"name. Write what differs as a Loss, a metric, an optimizer or a layer with add_loss, or take "
                    f"steps in a loop of your own with train_on_batch."
                )

    def __init__(
        self,
        *,
        seed: int | None = None,
        backend: str | Backend | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.seed = check_seed(seed, type(self).__name__)
        if self.seed is None:
            self.seed = fresh_seed()
        self.settle(Home(find_backend(backend), self._policy, self.seed, ""))
        check_offered(self._policy, self.xp, self.name)
        self.history: History | None = None
        self._training: ref[Training] | None = None
        self._outputs: tuple[dict[Shape, Shapes], int] = {}, 0
        self.shuffles = 0  # passes over shuffled data so far

    # Declaring.

    @override
    def get_config(self) -> dict[str, Any]:
        # The policy that was the current one need not be that where the model is made again.
        return {**super().get_config(), **({} if self._policy == "float32" else {"dtype": self._policy})}

    @property
    def layers(self) -> list[Layer]:
        """The layers, in order."""
        return self.sublayers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by name, or by index.

        Raises:
            ArgumentError: both are given or neither, or no layer has that index.
            UnknownNameError: no layer has this name.
        """
        if (name is None) == (index is None):
            raise ArgumentError(f"get_layer: give name, or index. Received: name={name!r}, index={index!r}")
        if index is not None:
            if not is_integer(index) or not -len(self.layers) <= index < len(self.layers):
                raise ArgumentError(
                    f"get_layer: index must be that of a layer, below {len(self.layers)}. Received: index={index!r}"
                )
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise UnknownNameError(
            f"get_layer: the name must be that of a layer of {self.name!r}. Received: {name!r}. "
            f"{nearest(str(name), [layer.name for layer in self.layers])}"
        )

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        **unknown: Any,
    ) -> None:
        """Print the layers, their output shapes, and the number of parameters.

        Args:
            line_length: accepted for Keras's sake; the table is as wide as it must be.
            positions: accepted for Keras's sake.
            print_fn: receives the text, instead of standard output.
            expand_nested: whether the layers of models within this one have lines of their own.
            show_trainable: accepted for Keras's sake; what is frozen is always marked.
            unknown: what is no argument, which is refused.
        """
        refuse_unknown("summary", unknown, Model.summary)
        check_flag("summary", expand_nested=expand_nested)
        text = summary(
            self, self._step.optimizer.variables if self._step is not None else [], expand_nested=expand_nested
        )
        if print_fn is not None:
            print_fn(text)
        elif sys.stdout is not None:  # as where there is no console
            sys.stdout.write(printable(text, getattr(sys.stdout, "encoding", None)) + "\n")

    def pack(self) -> None:
        """Lay the weights side by side in memory, so that an optimizer reaches them in one call."""
        pack(self._packed(), self.xp)

    def _packed(self) -> list[Variable]:
        return [variable for variable in self.weights if variable.trainable]

    @override
    def to(self, xp: str | Backend) -> Self:
        """Move everything to another backend: weights, optimizer slots, totals of metrics, and random state."""
        target, step = find_backend(xp), self._step
        self.check_offered_by(target)
        held = [] if step is None else step.held()
        move([*self.variables, *held], target, together=self._packed())
        self._live_on(target)
        if step is not None:
            step.move(target)
        return self

    # Saving.

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True, include_optimizer: bool = True) -> None:
        """Write the model to a file, from which `load_model` makes an equal one that goes on as this one would.

        The file holds the configuration, the weights, and the state of training: optimizer, metrics, random numbers,
        History. The same model gives the same bytes. Until the new file is whole, the old one stays.

        Args:
            filepath: ends in ``.layerkit``.
            overwrite: whether a file that is there is replaced.
            include_optimizer: False leaves out `compile`'s arguments and the state of training.

        Raises:
            ArgumentError: the path is none for a model, or a constructor was given what no file can hold.
            SaveError: the file could not be written; what stands there now is told.
        """
        from layerkit.models.files import writer  # with all that reads and writes files

        writer.save(filepath, self, self._step, overwrite=overwrite, optimizer=include_optimizer)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights alone, by name: to ``.safetensors``, or NumPy's ``.npz``.

        Raises:
            ArgumentError: the path has another ending.
            SaveError: the file could not be written; what stands there now is told.
        """
        from layerkit.models.files import writer

        writer.save_weights(filepath, self, overwrite=overwrite)

    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Read the weights from a file that `save` or `save_weights` wrote, or any ``.safetensors`` or ``.npz``.

        Raises:
            NotReadyError: the model is not built, so that it has no weights yet.
            ModelFormatError: the file is not in its format, or weights are missing, surplus, or of other shapes, all
                of which are listed; no weight was changed.
        """
        if not self.built:
            raise NotReadyError(
                f"{self.name}: load_weights needs a model with weights. Received: no build yet. "
                f"Call build(input_shape), or give the model an Input."
            )
        from layerkit.models.files import reader

        reader.load_weights(filepath, self)

    def save_checkpoint(
        self, path: Any, epoch: int, batch: int, *, ended: bool = False, logs: Any = None, after: Any = None
    ) -> None:
        """Write the model while `fit` runs, where it stands, and what callbacks remember: see `Run.standing`."""
        from layerkit.models.files import writer

        if self.run is None:
            raise NotReadyError("save_checkpoint: training must be under way. Received: no fit that runs. Use save.")
        position = self.run.standing(epoch, batch, ended=ended, stopped=self.stop_training, logs=logs, after=after)
        writer.save_checkpoint(path, self, self._compiled("save_checkpoint"), position)

    def load_checkpoint(self, path: Any, run: Run) -> Any:
        """Go to where a checkpoint was made, and return that position: see `BackupAndRestore`."""
        from layerkit.models.files import reader

        return reader.load_checkpoint(path, self, run)

    def to_json(self) -> str:
        """Return the configuration as JSON, from which `model_from_json` makes a model with first weights."""
        from layerkit.models.files import to_json

        return to_json(self)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        from layerkit.models.files import reduced

        return reduced(self)

    # Training.

    @property
    def _transfer(self) -> str:
        return self._compile_options.get("transfer", "auto")

    def _transfers(self, caller: str) -> Transfers:
        return Transfers(self._transfer, self.xp, caller)

    def _rules(self, goals: Goals | None, caller: str = "predict") -> Rules:
        return Rules(
            dtype=self.loss_dtype,
            output_shape=self._output_for,
            goals=goals,
            output_names=self.output_names,
            input_dtype=self._input_dtype(),
            input_shape=self._input_shape,
            index_count=self.index_count,
            home=lambda: self.xp,
            transfers=self._transfers(caller),
        )

    def _output_for(self, input_shape: Shape) -> Shapes:
        """Return what `compute_output_shape` does, computed once as long as nothing changes on which it depends."""
        known, at = self._outputs
        if at != changes():
            known, at = self._outputs = {}, changes()
        if input_shape not in known:
            known[input_shape] = self.compute_output_shape(input_shape)
        return known[input_shape]

    def _prepare(self, step: Step, data: ArrayData | BatchData, *, training: bool) -> None:
        """Build the model and the metrics for this data, and check that it can be trained."""
        x, y = data.row_shapes()
        if training:
            self._check_trains(step)
        self.build_for(x)
        if y is not None:
            step.resolve(y, Outputs(self._output_for(x), self.output_names))
        if training:
            step.plan()

    def _check_trains(self, step: Step) -> None:
        if not step.goals.trains:
            raise NotReadyError("Training needs a loss. Received: compile(loss=None). Give compile a loss.")
        if any(loss.reduction == "none" for loss in step.losses):
            raise ArgumentError(
                "Training needs a loss that is one number. Received: reduction='none'. "
                "Use reduction='sum_over_batch_size'."
            )
        for layer in self.walk():
            layer.check_differentiable()

    @contextlib.contextmanager
    def _unbuilt_on_failure(self) -> Generator[None]:
        """Take back what was built for data that turns out not to fit."""
        if self.built:
            yield
            return
        with recording():  # of several threads, one builds
            fresh = [] if self.built else [layer for layer in self.walk() if not layer.built]
            try:
                yield
            except BaseException:
                for layer in fresh:
                    layer.unbuild()
                raise

    def build_for(self, input_shape: Shape) -> None:
        """Build, unless that is done."""
        if not self.built:
            self.build(input_shape)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        validation_strategy: str = "last",
        **unknown: Any,
    ) -> History:
        """Train.

        Args:
            x: inputs: an array (NumPy's, or any that NumPy can read), nested lists, a memory map, or an iterable of
                batches (x, y) or (x, y, sample_weight).
            y: targets; left out where x yields batches.
            batch_size: rows a step; 32 by default.
            epochs: the number of the last epoch.
            verbose: 0 shows nothing; 1 or "auto" a moving line in a terminal or notebook, plain lines in a file; 2 a
                plain line for each epoch. Or how often an epoch leaves a line: "every 100 epochs", "10%" of them, or
                "30s" (or min, h); the last always does.
            callbacks: `Callback`s.
            validation_split: the share of the rows that are held out for validation.
            validation_data: (x, y), (x, y, sample_weight), or an iterable of batches.
            shuffle: whether the rows of arrays are shuffled before each epoch, by the model's seed. One batch that
                holds all rows is left as it is: the order within a batch does not matter.
            class_weight: weights of classes, by index.
            sample_weight: weights of rows (or of values) in the loss.
            initial_epoch: the number of the first epoch.
            steps_per_epoch: batches an epoch; the next one goes on where the last ended.
            validation_steps: batches of validation.
            validation_batch_size: rows a batch of validation; by default `batch_size`.
            validation_freq: validate every so many epochs, or after the epochs (counted from 1) in a list.
            validation_strategy: which rows `validation_split` holds out: the "last" ones; "random" ones; or
                "stratified", of each class the same share. The model's seed tells which: the same in each fit.
            unknown: nothing else is taken.

        Returns:
            The loss and metrics of each epoch.

        Raises:
            NotReadyError: `compile` was not called.
            ArgumentError, ShapeError, DataError: an argument or the data does not fit; nothing was changed.
        """
        training = self.fit_iter(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
            validation_strategy=validation_strategy,
            **unknown,
        )
        training.run()
        return training.history

    def fit_iter(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        validation_strategy: str = "last",
        **unknown: Any,
    ) -> Training:
        """Train in a loop of one's own, which is entered after each epoch.

        ::

            for epoch in model.fit_iter(x, y, epochs=100, validation_data=(x_test, y_test)):
                if epoch.logs["val_loss"] < 0.1:
                    break
                epoch.learning_rate *= 0.95

        Within the loop the model may be looked at and changed: evaluated, saved, given other weights. It may be left
        with ``break``, or by an exception; training has then come to its end, and the next one may begin.

        Args: those of `fit`.

        Returns:
            An iterator over `Epoch`s: their number, logs, model, history, and `learning_rate`, which can be set.

        Raises: what `fit` does, when it is called, and not only in the loop.
        """
        refuse_unknown("fit", unknown, Model.fit)
        step = self._compiled("fit")
        self.turn.require("fit", self.name)
        shown = check_verbose(verbose, "fit")
        check_count("fit", 0, epochs=epochs)
        check_count("fit", 0, initial_epoch=initial_epoch)
        check_flag("fit", shuffle=shuffle)
        _check_counts("fit", 1, batch_size=batch_size, validation_batch_size=validation_batch_size)
        _check_counts("fit", 1, steps_per_epoch=steps_per_epoch, validation_steps=validation_steps)
        chosen = check_callbacks(callbacks)
        class_weight = check_class_weight(class_weight)
        frequency: Any = validation_freq
        validates = _check_validation_freq(frequency)
        strategy = check_strategy(validation_strategy, validation_split)
        rules = self._rules(step.goals, "fit")
        if not step.goals.trains:
            raise NotReadyError("Training needs a loss. Received: compile(loss=None). Give compile a loss.")
        if validation_split and validation_data is not None:
            raise ArgumentError(
                f"fit: give validation_split, or validation_data. Received: both, validation_split={validation_split}"
            )
        with self._unbuilt_on_failure():
            if step.optimizer.searches and batch_size is None and is_array(x):
                batch_size = sys.maxsize
            data = make_data(rules, x, y, sample_weight, batch_size=batch_size, caller="fit")
            checking = None
            if validation_split:
                data, checking = data.split(validation_split, validation_batch_size, strategy, self.seed or 0)
            if class_weight is not None:
                data.weigh_classes(class_weight)
            if step.optimizer.searches and data.steps != 1:
                raise ArgumentError(
                    f"fit: {step.optimizer.name} needs all rows in each step. Received: "
                    f"{'an unknown number of' if data.steps is None else data.steps} batches an epoch. "
                    f"Leave out batch_size, or give an iterable of one batch."
                )
            self.build_for(data.row_shapes()[0])  # so that validation data is checked against the built model
            if validation_data is not None:
                checking = _validation_data(rules, validation_data, validation_batch_size, batch_size)
            rules.transfers.tell(kept=isinstance(data, ArrayData) and data.fits)
            self._prepare(step, data, training=True)
            lookout: Lookout | None = None
            if self._is_to_lint:
                from layerkit.models.lint import Lookout  # the first fit alone needs it

                lookout = Lookout(self, step, data)
                lookout.begin()
        self._is_to_lint = False
        for each in (data, checking):
            if isinstance(each, ArrayData):
                each.keep()
        steps = steps_per_epoch or data.steps
        history = next((callback for callback in chosen if isinstance(callback, History)), None)
        if history is None:
            history = History()
            chosen.append(history)  # the last, as in Keras: it records what others add to the logs
        restoring = [callback for callback in chosen if isinstance(callback, Restoring)]
        others = [callback for callback in chosen if callback not in restoring]
        run = Run(
            data,
            checking,
            {"shuffle": shuffle, "steps_per_epoch": steps_per_epoch},
            {
                **{"batch_size": batch_size, "epochs": epochs, "verbose": verbose, "shuffle": shuffle},
                **{"validation_split": float(validation_split), "validation_strategy": strategy},
                "class_weight": class_weight,
                **{"steps_per_epoch": steps_per_epoch, "validation_steps": validation_steps},
                "validation_batch_size": validation_batch_size,
                "validation_freq": sorted(frequency) if is_a(frequency, set) else frequency,
            },
            others,
            restoring,
        )
        if any(hasattr(callback, "save_now") for callback in chosen):
            from layerkit.models.files import writer

            run.compiled = writer.compiled(self)
        at: Any = None
        for callback in restoring:
            at = at or callback.restore(self, run, epochs)
        # Behind the others: a checkpoint holds what they remember by then.
        loudness = 1 if isinstance(shown, Pace) else shown
        called = CallbackList([*others, *restoring], model=self, verbose=loudness, epochs=epochs, steps=steps)
        order: Callable[[int], Any] | None = None
        if shuffle and data.in_order is not None:
            passes = loop.row_order(self.seed or 0, data.in_order)
            first = self.shuffles + 1 - (0 if at is None else at.passes)

            def shuffled(number: int) -> Any:
                self.shuffles = max(self.shuffles, first + number)
                return passes(first + number)

            order = shuffled
        batches = run.batches = loop.Batches(data, steps_per_epoch, order)
        if at is not None:
            batches.go_on(at.passes, at.offset)

        def validation(epoch: int) -> loop.Batches | None:
            return None if checking is None or not validates(epoch + 1) else loop.Batches(checking, validation_steps)

        running = None if self._training is None else self._training()
        if running is not None:
            running.give_way()
        self.history = history
        interrupt = DeferredInterrupt()
        progress = Progress(shown, steps, epochs, initial_epoch if at is None else at.epoch)
        epochs_run = partial(
            loop.train,
            step,
            batches,
            called,
            progress,
            initial_epoch=initial_epoch,
            epochs=epochs,
            validation=validation,
            interrupt=interrupt,
            run=run,
            lookout=lookout if at is None else None,
            at=at,
        )
        training = Training(epochs_run, interrupt, progress, self, history)
        self._training = ref(training)
        return training

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **unknown: Any,
    ) -> Any:
        """Return the loss and the metrics on data: a number, a list, or with `return_dict` a dictionary by name."""
        refuse_unknown("evaluate", unknown, Model.evaluate)
        step = self._compiled("evaluate")
        shown = check_verbose(verbose, "evaluate")
        chosen = check_callbacks(callbacks)
        _check_counts("evaluate", 1, batch_size=batch_size, steps=steps)
        if not step.goals.measures:
            raise NotReadyError(
                "evaluate: there must be a loss or a metric to measure. Received: compile(loss=None). "
                "Give compile a loss."
            )
        rules = self._rules(step.goals, "evaluate")
        with self._unbuilt_on_failure():
            data = make_data(rules, x, y, sample_weight, batch_size=batch_size, caller="evaluate")
            rules.transfers.tell()
            self._prepare(step, data, training=False)
        batches = loop.Batches(data, steps)
        called = CallbackList(chosen, model=self, verbose=shown, epochs=1, steps=batches.count)
        with Progress(shown, batches.count) as progress:
            logs = loop.evaluate(step, batches, called, progress)
        return logs if return_dict else _as_keras_does(logs)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        **unknown: Any,
    ) -> Any:
        """Return the outputs for all rows of x, as a NumPy array; several in a list or dictionary, as `call` does.

        Args:
            x: see `fit`; an iterable yields x alone.
            batch_size: rows a batch; by default 32 where `steps` or callbacks count batches. Else they are more where x
                has many, up to 4,096 or 4 MiB of x, which takes a fraction of the time.
            verbose: see `fit`.
            steps: batches to take.
            callbacks: `Callback`s.
            unknown: nothing else is taken.
        """
        refuse_unknown("predict", unknown, Model.predict)
        if batch_size is None and steps is None and callbacks is None and type(verbose) is int and verbose == 0:
            again = self._predict_again(x)
            if again is not None:
                return again
        shown = check_verbose(verbose, "predict")
        chosen = check_callbacks(callbacks)
        _check_counts("predict", 1, batch_size=batch_size, steps=steps)
        rules = self._rules(None, "predict")
        with self._unbuilt_on_failure():
            counted = bool(chosen) or steps is not None
            data = make_data(
                rules, x, None, None, batch_size=batch_size, targets=False, counted=counted, caller="predict"
            )
            rules.transfers.tell()
            self.build_for(data.row_shapes()[0])
        batches = loop.Batches(data, steps)
        called = CallbackList(chosen, model=self, verbose=shown, epochs=1, steps=batches.count)
        with Progress(shown, batches.count) as progress:
            outputs = loop.predict(self.inference, batches, called, progress)
        dtype = data.one_batch_of(x) if isinstance(data, ArrayData) else None
        if dtype is not None:
            self.inference.accept(x, dtype)
        return outputs

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Take one step on these rows, and return the loss and the metrics of this batch."""
        step = self._compiled("train_on_batch")
        return self._on_batch(step, x, y, sample_weight, class_weight, return_dict=return_dict, training=True)

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return the loss and the metrics of this batch."""
        step = self._compiled("test_on_batch")
        return self._on_batch(step, x, y, sample_weight, None, return_dict=return_dict, training=False)

    def _on_batch(
        self,
        step: Step,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: dict[int, float] | None,
        *,
        return_dict: bool,
        training: bool,
    ) -> Any:
        caller = "train_on_batch" if training else "test_on_batch"
        rules = self._rules(step.goals, caller)
        class_weight = check_class_weight(class_weight)
        with self._unbuilt_on_failure():
            data = make_data(rules, x, y, sample_weight, batch_size=_one_batch(caller, x), caller=caller)
            rules.transfers.tell()
            if class_weight is not None:
                data.weigh_classes(class_weight)
            self._prepare(step, data, training=training)
        logs = loop.on_batch(step, next(data.batches()), training=training)
        return logs if return_dict else _as_keras_does(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for these rows, as a NumPy array."""
        again = self._predict_again(x)
        return self.predict(x, batch_size=_one_batch("predict_on_batch", x), verbose=0) if again is None else again

    def _predict_again(self, x: Any) -> Any:
        """Return the outputs for x if such an array was predicted whole before; None otherwise."""
        silent = self._transfer == "auto" or self.xp.on_host  # or else what is copied is to be told, or refused
        return None if self._inference is None or not silent else loop.predict_again(self._inference, x)

    def program(self, name: str = "train") -> Any:
        """Return a step as it is replayed: for the largest batches that it was taken with.

        ::

            print(model.program("train"))

        On NumPy it is a script with fixed memory, of which `source` is the text, `flops`, `bytes_moved` and `buffers`
        tell the work, and ``profile()`` the time of each line. On other backends it is the list of the words.

        Args:
            name: "train", "test" or "predict".

        Raises:
            ArgumentError: `name` is none of these.
            NotReadyError: the step has not been taken yet, or runs eagerly.
        """
        if name not in ("train", "test", "predict"):
            raise ArgumentError(f"program: name must be 'train', 'test' or 'predict'. Received: name={name!r}")
        if name == "predict":
            steps, remedy = self.inference.predicting, "predict(x)"
        else:
            step = self._compiled("program")
            steps, remedy = (step.training, "fit(x, y)") if name == "train" else (step.testing, "evaluate(x, y)")
        program = steps.program()
        if program is None:
            raise NotReadyError(
                f"program: a step is known once it was taken twice, if it is not run eagerly. Received: name={name!r}, "
                f"of a model without such a step. Call {remedy} first, with jit_compile='auto'."
            )
        return program

    def export(self, path: str | os.PathLike[str], *, rows: int = 32, training: bool = False) -> None:
        """Write the model as a Python file that needs NumPy alone, and its numbers to an ``.npz`` file beside it.

        ::

            model.export("net.py")

            import net
            net.predict(x)

        The text is that of ``program("predict")``, with buffers for so many rows; `predict` takes any number of them.
        Before anything is written, it is run, and its predictions are compared with those of the model.

        Args:
            path: ends in ``.py``. A file that is there is replaced.
            rows: how many rows the file works on at a time.
            training: whether there are also ``train(x, y)``, which is ``program("train")`` for the largest batches that
                the model was trained with, and ``loss()``.

        Raises:
            ArgumentError: the path is none for such a file, the model does not take and give one array, or it uses what
                is no function of NumPy: a word that has none, or a `differentiable` function.
            NotReadyError: the model is not built, or with training=True was not trained.
            CaptureError: the model does something that cannot be replayed.
            ContractError: the file would not give what the model gives; nothing was written.
            SaveError: a file could not be written; what stands there now is told.
        """
        from layerkit.models.export import export  # seldom needed

        export(self, path, rows, training=training)

    def check_gradients(
        self, x: Any, y: Any, sample_weight: Any = None, *, tolerance: float = 1e-6, seed: int = 0
    ) -> GradientTable:
        """Check that what backward gives is the derivative of the loss, for each trainable weight.

        With L the loss of these rows in training, g its gradient as backward gives it, and v a random direction,
        ``g · v`` is compared with ``(L(w + h v) - L(w - h v)) / 2h``. It is done in float64, on a copy of the model:
        weights, optimizer and random state stay as they are, and dropout draws the same mask in each evaluation. A few
        rows are enough: the loss is computed some five times for each weight.

        Args:
            x: inputs.
            y: targets.
            sample_weight: weights of rows (or of values) in the loss.
            tolerance: the relative error that a derivative may have.
            seed: of the directions.

        Returns:
            What was compared: ``print`` shows a line for each weight.

        Raises:
            GradientMismatch: a derivative is wrong; the message names the weight and the layer whose backward is not
                the derivative of its forward, and shows the table.
            NotReadyError: `compile` was not called, or there is no loss or no trainable weight.
            ShapeError, DataError: the data does not fit.
        """
        from layerkit.models.gradients import check_gradients  # seldom needed

        self._check_trains(self._compiled("check_gradients"))
        check_positive("check_gradients", tolerance=tolerance)
        check_count("check_gradients", 0, seed=seed)
        twin = copy.deepcopy(self)
        for layer in twin.walk():
            layer._dtype = "float64"
        step = twin._compiled("check_gradients")
        rows = _one_batch("check_gradients", x)
        data = make_data(
            twin._rules(step.goals, "check_gradients"), x, y, sample_weight, batch_size=rows, caller="check_gradients"
        )
        x_shape, targets = data.row_shapes()
        twin.build_for(x_shape)
        step.resolve(targets or (), Outputs(twin._output_for(x_shape), twin.output_names))
        for variable in twin.variables:
            if variable.dtype == "float32":
                variable.cast("float64")
        return check_gradients(twin, step, next(data.batches()), tolerance, seed)

    def lint(self, x: Any, y: Any = None, sample_weight: Any = None) -> Findings:
        """Look for mistakes in the model and its data, and for what is likely to be one.

        The first `fit` after `compile` does so too: it raises what is certain to be a mistake, and warns of the rest
        (with a `LintWarning`), of the loss of its first batch, and of units that are dead after its first epoch. Some
        hundred rows are looked at. What is not wanted is silenced by its name; ``compile(lint=False)`` looks nowhere::

            warnings.filterwarnings("ignore", "lint: constant_columns")

        ================================  ==========================================================================
        data                              x or y does not fit the model (an error, as in `fit`)
        probabilities_as_logits           a softmax or sigmoid before a loss with ``from_logits=True`` (an error)
        softmax_over_one_unit             always 1 (an error)
        logits_as_probabilities           a linear output before a crossentropy of probabilities
        labels_from_one                   class indices that begin at 1
        constant_columns                  columns of x with one number, not 0
        unscaled_columns                  numbers of x far from 1, or columns of very different size
        first_loss_far_from_chance        a first loss that shows too large weights, or targets that are not scaled
        dead_units                        units with ReLU that give 0 for all rows
        ================================  ==========================================================================

        Args:
            x: inputs, an array.
            y: targets.
            sample_weight: weights of rows (or of values) in the loss.

        Returns:
            What was found: ``print`` shows it; `names`, `errors` and `warnings` list it.

        Raises:
            NotReadyError: `compile` was not called, or there is no loss.
        """
        from layerkit.models.lint import lint  # seldom needed

        self._check_trains(self._compiled("lint"))
        twin = copy.deepcopy(self)  # which may be built
        step = twin._compiled("lint")
        try:
            rules = twin._rules(step.goals, "lint")
            data = make_data(rules, x, y, sample_weight, batch_size=_one_batch("lint", x), caller="lint")
            twin._prepare(step, data, training=True)
        except ArgumentError as error:
            return lint(None, error)
        return lint((twin, step, data), None)

    def explain(self, x: Any, y: Any) -> Explanation:
        """Work out one training step on these rows: every formula and every number, as one would by hand.

        ::

            print(model.explain(x, y))

        Forward, with each layer's formula, weights and output; the loss; backward, with local derivatives and
        gradients; and the new weights. It is done on a copy: the model stays as it is. The numbers are compared with
        those of a step that is really taken. Formulas are those in the docstrings of the classes.

        Args:
            x: inputs, at most 20 rows.
            y: targets.

        Returns:
            What ``print`` shows as text, and a notebook as a table.

        Raises:
            ArgumentError: the model has more than 200 weights, or there are more than 20 rows.
            NotReadyError: `compile` was not called, or there is no loss.
            ShapeError, DataError: the data does not fit.
            ContractError: the numbers are not those of the step.
        """
        from layerkit.models.explain import check_size, explain  # which knows models

        if self._compiled("explain").optimizer.searches:
            raise ArgumentError(
                f"explain: a step is shown that computes its gradient once. Received: one of {self.optimizer.name}, "
                f"which searches. Compile with another optimizer."
            )
        twin = copy.deepcopy(self)
        step = twin._compiled("explain")
        twin.run_eagerly = True  # what is shown is each line, as it runs
        data = make_data(
            twin._rules(step.goals, "explain"), x, y, None, batch_size=_one_batch("explain", x), caller="explain"
        )
        rows = data.row_shapes()[0]
        twin._check_trains(step)
        twin.build_for(rows)
        batch = next(data.batches())
        check_size(twin.count_params(), batch[0].shape[0])
        twin._prepare(step, data, training=True)
        return explain(twin, batch, lambda model: model.train_on_batch(x, y, return_dict=True)["loss"])

    def __call__(self, x: Any, *, training: bool | None = None, mask: Any = None) -> Array:
        """Return the output for an array or a list, of any library, as an array of the model's backend.

        What lies elsewhere is copied to where the model is, as `compile`'s `transfer` says.
        """
        if active_recorder() is None:
            x = self._here(x)
        return super().__call__(x, training=training, mask=mask)

    def _here(self, x: Any) -> Any:
        """Return x with arrays of other backends brought to the model's."""
        xp = self.xp
        if all(isinstance(leaf, (int, float)) or xp.owns(leaf) for leaf in leaves(x)):
            return x
        transfers = self._transfers("call")

        def here(leaf: Any) -> Any:
            if isinstance(leaf, (int, float)) or not is_array(leaf):
                return leaf
            array = brought(xp, leaf, f"{self.name}: x")
            transfers.note(leaf, array, "x")
            return array if xp.owns(array) else xp.asarray(array)

        found = mapped(here, x)
        transfers.tell()
        return found


def _as_keras_does(logs: dict[str, float]) -> float | list[float]:
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _check_counts(caller: str, least: int, **counts: Any) -> None:
    for name, value in counts.items():
        if value is not None:
            check_count(caller, least, **{name: value})


def _check_validation_freq(freq: Any) -> Callable[[int], bool]:
    if is_a(freq, list, tuple, set):
        chosen = {check_count("fit", 1, validation_freq=number) for number in freq}
        return lambda number: number in chosen
    every = check_count("fit", 1, validation_freq=freq)
    return lambda number: number % every == 0


def _validation_data(
    rules: Rules, given: Any, validation_batch_size: int | None, batch_size: int | None
) -> ArrayData | BatchData:
    x, y, weight = given, None, None
    if isinstance(given, (tuple, list)):
        if len(given) not in (2, 3):  # pyright: ignore[reportUnknownArgumentType]
            raise DataError(
                f"fit: validation_data must be (x, y) or (x, y, sample_weight). Received: {len(given)} of them"  # pyright: ignore[reportUnknownArgumentType]
            )
        x, y, weight = (*given, None)[:3]  # pyright: ignore[reportUnknownVariableType]
        validation_batch_size = validation_batch_size or batch_size
    data = make_data(rules, x, y, weight, batch_size=validation_batch_size, caller="fit", place=" of validation_data")
    data.row_shapes()  # looks at the first batch of an iterable, before training
    return data


def _one_batch(caller: str, x: Any) -> int:
    """Return a batch size that no array reaches."""
    if not is_array(x):
        raise DataError(f"{caller}: x must be an array or nested lists. Received: {type(x).__name__}")
    return sys.maxsize
