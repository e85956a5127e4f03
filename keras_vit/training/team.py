"""The processes that train one model together, one a host (or several on one), and what they agree on."""

from __future__ import annotations

import contextlib
import enum
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from keras_vit.errors import InputError, Stopped


class Request(enum.IntEnum):
    """What a process wants after a step; where they differ, the highest counts for all."""

    GO_ON = 0
    SAVE = 1
    STOP = 2
    DIVERGED = 3


@dataclass(frozen=True)
class Team:
    """One process among those that train together.

    Attributes:
        rank: of this process, from 0; the first is the chief, who alone writes files and prints.
        count: of processes.
        sum_over_all: sums a vector of numbers over the processes; each has to call it.
    """

    rank: int = 0
    count: int = 1
    sum_over_all: Callable[[list[int]], list[int]] = list

    @property
    def chief(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def agree(self, request: Request) -> Request:
        """The highest request of all processes; each waits for the others here."""
        if self.count == 1:
            return request
        votes = self.sum_over_all([int(request == each) for each in Request])
        return max(each for each in Request if votes[each])

    def check_same(self, number: int, what: str) -> None:
        """Makes sure that all processes have the same number.

        Raises:
            InputError: they have not.
        """
        if self.count > 1 and self.sum_over_all([number, number * number]) != [
            self.count * number,
            self.count * number * number,
        ]:
            raise InputError(f"The processes that train together disagree about {what}: give all of them the same.")

    def spread(self, batches: tf.data.Dataset, strategy: tf.distribute.Strategy):
        """A dataset of this process's share of each batch, for `fit`: not to be shared a second time."""
        if self.count == 1:
            return batches
        local = strategy.num_replicas_in_sync // self.count
        (images, _) = batches.element_spec
        return strategy.distribute_datasets_from_function(lambda _: batches.rebatch(images.shape[0] // local))

    @contextlib.contextmanager
    def together(self, folder: Path) -> Iterator[None]:
        """Within the block, a process that has gone ends the others with one sentence.

        Args:
            folder: of the run, for the sentence.

        Raises:
            Stopped: another process cannot be reached any more.
        """
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
            if self.count == 1:
                raise
            raise Stopped(
                "Another worker of this run has gone. Start all of them again with --resume: the run goes on from the "
                f"last checkpoint in {folder}."
            ) from error

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.count > 1:
            self.sum_over_all([0])


def make_team() -> tuple[tf.distribute.Strategy, Team]:
    """The strategy over all processes of `TF_CONFIG`, or of the SLURM step that this process belongs to.

    It returns when all of them are there.

    Raises:
        InputError: neither is set, or `TF_CONFIG` is not of the known form.
    """
    resolver = _resolver()
    addresses, rank = resolver.cluster_spec().as_dict().get("worker", []), resolver.task_id
    if len(addresses) < 2:
        raise InputError("devices=workers needs two workers or more: TF_CONFIG names them as cluster.worker.")
    if rank == 0:
        print(f"waiting for {len(addresses)} workers: {', '.join(addresses)}", flush=True)
    strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float64)])
    def total(numbers):
        return strategy.reduce("SUM", strategy.run(lambda: numbers), axis=None)

    local = strategy.num_replicas_in_sync // len(addresses)

    def sum_over_all(numbers):
        return [round(number / local) for number in total(tf.constant(numbers, tf.float64)).numpy().tolist()]

    return strategy, Team(rank, len(addresses), sum_over_all)


def _resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    if "TF_CONFIG" in os.environ:
        try:
            config = json.loads(os.environ["TF_CONFIG"])
            workers, task = config["cluster"]["worker"], config["task"]
            known = set(config["cluster"]) == {"worker"} and task["type"] == "worker"
            if not known or task["index"] not in range(len(workers)):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise InputError(
                'TF_CONFIG has another form than {"cluster": {"worker": ["host:port", ...]}, '
                f'"task": {{"type": "worker", "index": 0}}}}: {os.environ["TF_CONFIG"]}'
            ) from None
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "SLURM_STEP_NODELIST" in os.environ:
        return tf.distribute.cluster_resolver.SlurmClusterResolver()
    raise InputError(
        "devices=workers is for several processes: set TF_CONFIG, start them with srun, or use devices=auto."
    )
