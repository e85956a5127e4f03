"""Gradient accumulation that also works under a distribution strategy."""

from __future__ import annotations

import keras
import tensorflow as tf


class AccumulatingModel(keras.Model):
    """Trains a functional model by cutting each batch into micro-batches, one after the other.

    The update equals that of the whole batch, at the memory of one micro-batch. Keras's own
    `gradient_accumulation_steps` fails under every `MirroredStrategy`, because it decides inside the replicas whether
    to apply; here each step applies.

    Args:
        model: the functional model whose layers are trained; it stays usable.
        micro_batches: how many pieces; each replica's share of the batch must divide by it.
    """

    def __init__(self, model: keras.Model, micro_batches: int):
        super().__init__(inputs=model.input, outputs=model.output, name=model.name)
        self.micro_batches = micro_batches

    def train_step(self, data):
        """One update from a batch (x, y) or (x, y, sample_weight)."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        variables = self.trainable_weights
        size = tf.shape(y)[0] // self.micro_batches

        def gradients_of(index):
            piece = slice(index * size, (index + 1) * size)
            with tf.GradientTape() as tape:
                y_pred = self(x[piece], training=True)
                part = None if weight is None else weight[piece]
                loss = self.compute_loss(x[piece], y[piece], y_pred, part, training=True) / self.micro_batches
                scaled = self.optimizer.scale_loss(loss)
            return loss, y_pred, tape.gradient(scaled, variables)

        def body(index, loss, predictions, gradients):
            more_loss, y_pred, more = gradients_of(index)
            return (
                index + 1,
                loss + more_loss,
                predictions.write(index, y_pred),
                [a + b for a, b in zip(gradients, more, strict=True)],
            )

        start = (
            tf.constant(0),
            tf.constant(0.0),
            tf.TensorArray(tf.float32, self.micro_batches),
            [tf.zeros(v.shape, v.dtype) for v in variables],
        )
        # One piece at a time: run side by side, the pieces would need the memory that they are there to save.
        _, loss, predictions, gradients = tf.while_loop(
            lambda index, *_: index < self.micro_batches, body, start, parallel_iterations=1
        )
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(loss * replicas, sample_weight=tf.shape(y)[0])
        return self.compute_metrics(x, y, predictions.concat(), weight)
