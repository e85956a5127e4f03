"""The model that `fit` trains: micro-batches, sharpness-aware steps, loss scaling, and the gradient's norm."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_vit.training.optimizers.whole_batch import sum_over_replicas


class TrainingModel(keras.Model):
    """A functional model with a training step of its own. It adds to Keras's figures `gradient_norm`, the norm of the
    whole batch's gradient before clipping.

    The gradient is summed over the replicas before the optimizer sees it, so that all replicas agree whether it
    overflowed (Keras's loss scaling asks the first one only).

    Args:
        model: the functional model whose layers are trained; it stays usable.
        micro_batches: pieces that a batch is cut into, one after the other: the update equals that of the whole batch,
            at the memory of one piece. Each replica's share of the batch must divide by it. (Keras's own
            `gradient_accumulation_steps` fails under every `MirroredStrategy`, because it decides inside the replicas
            whether to apply; here each step applies.)
        sam: radius of sharpness-aware minimisation (Foret et al., 2021); 0 is off. The gradient that is applied is
            taken where the loss is highest, to first order, within this distance of the weights. A step costs two; the
            second repeats the first's dropout masks. Loss and figures are those of the weights themselves.
    """

    def __init__(self, model: keras.Model, micro_batches: int = 1, sam: float = 0.0):
        super().__init__(inputs=model.input, outputs=model.output, name=model.name)
        self.micro_batches = micro_batches
        self.sam = sam
        self.gradient_norm = keras.metrics.Mean(name="gradient_norm")
        self._evaluating = False

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Keras's; evaluation, which has no gradient, is without its norm."""
        return [metric for metric in super().metrics if metric is not self.gradient_norm or not self._evaluating]

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`."""
        self._evaluating = True
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self._evaluating = False

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras would average the first batch over the processes, which fails under MultiWorkerMirroredStrategy
        # (keras-team/keras#20585); its form is all that is needed.
        if iterator is not None and _many_processes(self.distribute_strategy):
            _, _, batches = next(iter(iterator))
            local = self.distribute_strategy.experimental_local_results
            data_batch, iterator = keras.tree.map_structure(lambda value: local(value)[0], next(batches)), None
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def train_step(self, data):
        """One update from a batch (x, y) or (x, y, sample_weight)."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        masks = [(state, tf.identity(state)) for state in self._generators] if self.sam else []
        loss, y_pred, gradients = self._gradients(x, y, weight)
        if self.sam:
            for state, before in masks:
                state.assign(before)
            gradients = self._sharp_gradients(gradients, x, y, weight)
        self._track_norm(gradients)
        self._apply(gradients)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(loss * replicas, sample_weight=_length(y))
        return self._reducible(self.compute_metrics(x, y, y_pred, weight))

    def test_step(self, data):
        """The figures of a batch (x, y) or (x, y, sample_weight)."""
        return self._reducible(super().test_step(data))

    def _reducible(self, figures: dict) -> dict:
        # Over several processes Keras takes the mean along the first axis too, which its own figures do not have.
        if not _many_processes(self.distribute_strategy):
            return figures
        return {name: tf.expand_dims(figure, 0) for name, figure in figures.items()}

    @property
    def _generators(self) -> list[keras.Variable]:
        """The states of random generators: all that Keras does not count as weights."""
        known = {id(variable) for variable in (*self.weights, *self.metrics_variables)}
        return [variable for variable in self.variables if id(variable) not in known]

    def _gradients(self, x, y, weight):
        """Loss and predictions of this replica's share, and the gradients of the whole batch's scaled loss."""
        whole = self._share_gradients if self.micro_batches == 1 else self._accumulated_gradients
        loss, y_pred, gradients = whole(x, y, weight)
        return loss, y_pred, sum_over_replicas([tf.convert_to_tensor(gradient) for gradient in gradients])

    def _share_gradients(self, x, y, weight):
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, weight, training=True) / self.micro_batches
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, y_pred, gradients

    def _accumulated_gradients(self, x, y, weight):
        size = _length(y) // self.micro_batches

        def body(index, loss, predictions, gradients):
            piece = slice(index * size, (index + 1) * size)
            pieces = keras.tree.map_structure(lambda whole: whole[piece], (x, y, weight), none_is_leaf=False)
            more_loss, y_pred, more = self._share_gradients(*pieces)
            total = [a + b for a, b in zip(gradients, more, strict=True)]
            return index + 1, loss + more_loss, predictions.write(index, y_pred), total

        start = (
            tf.constant(0),
            tf.constant(0.0),
            tf.TensorArray(tf.float32, self.micro_batches),
            [tf.zeros(v.shape, v.dtype) for v in self.trainable_weights],
        )
        # One piece at a time: run side by side, the pieces would need the memory that they are there to save.
        _, loss, predictions, gradients = tf.while_loop(
            lambda index, *_: index < self.micro_batches, body, start, parallel_iterations=1
        )
        return loss, predictions.concat(), gradients

    def _sharp_gradients(self, gradients, x, y, weight):
        """The gradients at the weights plus `sam` in the direction of `gradients`; the weights stay, bit for bit."""
        variables = self.trainable_weights
        own = [tf.identity(variable) for variable in variables]
        # The direction does not depend on the scale of the loss.
        stride = self.sam / (tf.linalg.global_norm(gradients) + 1e-12)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_add(gradient * stride)
        _, _, sharp = self._gradients(x, y, weight)
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)
        return sharp

    def _track_norm(self, gradients) -> None:
        scale = self.optimizer.scale_loss(tf.constant(1.0))
        norm = tf.linalg.global_norm(gradients) / scale
        # A step that overflows is skipped, and the scale lowered: it has no norm.
        counts = tf.math.is_finite(norm) if hasattr(self.optimizer, "inner_optimizer") else tf.constant(True)
        self.gradient_norm.update_state(tf.where(counts, norm, 0.0), sample_weight=tf.cast(counts, tf.float32))

    def _apply(self, gradients) -> None:
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if not getattr(inner, "summed", False):
            # An optimizer that sums over the replicas itself gets this replica's share of the sum.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            gradients = [gradient / replicas for gradient in gradients]
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))


def _many_processes(strategy: tf.distribute.Strategy) -> bool:
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _length(y):
    """The number of examples in a batch of targets of any structure."""
    return tf.shape(keras.tree.flatten(y)[0])[0]
