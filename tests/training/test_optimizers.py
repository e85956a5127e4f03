"""Optimizers, schedules and groups: each against the reference it is named after."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.errors import InputError
from keras_vit.training import Recipe
from keras_vit.training.freeze import freeze
from keras_vit.training.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    Group,
    block_matrices,
    decay_scales,
    freeze_groups,
    group_rates,
    layer_norms,
    make_optimizer,
    make_schedule,
    rate_scales,
)
from keras_vit.training.settings import TrainSettings

torch = pytest.importorskip("torch", reason="needs torch, which the test extra installs")

RATE, DECAY, STEPS = 0.02, 0.1, 10
RATE_SCALES, DECAY_SCALES = [1.0, 0.3, 2.0], [1.0, 0.5, 0.0]
SHAPES = [(6, 4), (4, 5), (5,)]


def torch_adamw(weight, rate, decay):
    return torch.optim.AdamW([weight], rate, (0.9, 0.98), 1e-9, decay)


def torch_sgd(weight, rate, decay):
    made = torch.optim.SGD([weight], rate, momentum=0.9, nesterov=True)

    def shrink(*_):
        weight.data.mul_(1 - rate * decay)

    made.register_step_pre_hook(shrink)
    return made


def timm_lion(weight, rate, decay):
    return timm_optimizers().Lion([weight], rate, (0.9, 0.98), decay)


def timm_lamb(weight, rate, decay):
    return timm_optimizers().Lamb([weight], rate, betas=(0.9, 0.98), eps=1e-9, weight_decay=decay, max_grad_norm=None)


def timm_optimizers():
    from peers import declare_torchvision_ops

    declare_torchvision_ops()
    return pytest.importorskip("timm.optim", reason="needs timm, which the test extra installs")


class PlainMuon:
    """Muon as in Liu et al. (2025), section 2, in float64; AdamW for what is no matrix."""

    def __init__(self, weight, rate, decay):
        self.weight, self.rate, self.decay, self.buffer = weight, rate, decay, 0.0
        self.plain = torch.optim.AdamW([weight], rate, (0.9, 0.98), 1e-9, decay) if weight.ndim != 2 else None

    def step(self):
        if self.plain:
            self.plain.step()
            return
        gradient = self.weight.grad.numpy().astype("float64")
        self.buffer = 0.95 * self.buffer + gradient
        update = gradient + 0.95 * self.buffer
        tall = update.shape[0] > update.shape[1]
        update = update.T if tall else update
        update = update / np.linalg.norm(update)
        for _ in range(5):
            gram = update @ update.T
            update = 3.4445 * update + (-4.7750 * gram + 2.0315 * gram @ gram) @ update
        update = (update.T if tall else update) * 0.2 * np.sqrt(max(update.shape))
        self.weight.data.mul_(1 - self.rate * self.decay).sub_(torch.tensor(self.rate * update, dtype=torch.float32))


REFERENCES = {
    "adamw": (torch_adamw, {"beta_2": 0.98, "epsilon": 1e-9}),
    "sgd": (torch_sgd, {}),
    "lion": (timm_lion, {"beta_2": 0.98}),
    "muon": (PlainMuon, {"adam_beta_2": 0.98, "epsilon": 1e-9}),
    "lamb": (timm_lamb, {"beta_2": 0.98, "epsilon": 1e-9}),
}
"""Optimizer -> its reference for one variable, and the options that make ours agree."""


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_variable_steps_and_decays_as_in_the_reference(name):
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape).astype("float32") for shape in SHAPES]
    reference, options = REFERENCES[name]
    arguments = OPTIMIZERS[name].defaults | options
    if name == "muon":
        arguments["orthogonal"] = [True, True, False]
    ours = OPTIMIZERS[name].made(
        RATE, weight_decay=DECAY, rate_scales=RATE_SCALES, decay_scales=DECAY_SCALES, **arguments
    )
    variables = [keras.Variable(value, name="kernel") for value in values]
    weights = [torch.tensor(value, requires_grad=True) for value in values]
    theirs = [
        reference(weight, RATE * rate, DECAY * decay)
        for weight, rate, decay in zip(weights, RATE_SCALES, DECAY_SCALES, strict=True)
    ]
    for step in range(STEPS):
        if step == STEPS // 2:
            # Through its config: what it was told about each variable must survive.
            slots = [np.asarray(variable) for variable in ours.variables]
            ours = keras.optimizers.deserialize(keras.optimizers.serialize(ours))
            ours.build(variables)
            ours.set_weights(slots)
        gradients = [rng.normal(size=shape).astype("float32") for shape in SHAPES]
        ours.apply(gradients, variables)
        for weight, optimizer, gradient in zip(weights, theirs, gradients, strict=True):
            weight.grad = torch.tensor(gradient)
            optimizer.step()
    for variable, weight in zip(variables, weights, strict=True):
        np.testing.assert_allclose(variable, weight.detach(), rtol=1e-5, atol=1e-5)


def test_factors_for_other_variables_are_refused():
    with pytest.raises(ValueError, match="2 factors were given for 1 variables"):
        OPTIMIZERS["sgd"].made(0.1, rate_scales=[1.0, 2.0]).build([keras.Variable([1.0])])


class TestSchedules:
    @pytest.mark.parametrize("name", SCHEDULES)
    def test_closed_form(self, name):
        settings = TrainSettings(
            schedule=name, epochs=10, warmup_epochs=2, learning_rate=1e-3, final_learning_rate=0.05
        )
        schedule = make_schedule(settings, 10)
        schedule = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
        rates = np.array([float(schedule(step)) for step in range(121)])
        t = np.minimum(np.arange(121), 100)
        way = (t - 20) / 80
        after = {
            "cosine": 0.05 + 0.95 * (1 + np.cos(np.pi * way)) / 2,
            "linear": 1 - 0.95 * way,
            "constant": np.ones(121),
            "inverse_sqrt": np.sqrt(20 / np.maximum(t, 20)),
        }
        if name == "one_cycle":
            weight = torch.nn.Parameter(torch.zeros(1))
            # torch's last step is number total - 1, and its rise ends at pct_start * total - 1.
            cycle = {"pct_start": 31 / 101, "div_factor": 25, "final_div_factor": 1 / (25 * 0.05)}
            made = torch.optim.SGD([weight], 1.0)
            cycle = torch.optim.lr_scheduler.OneCycleLR(made, 1e-3, total_steps=101, cycle_momentum=False, **cycle)
            expected = []
            for _ in range(100):
                expected.append(cycle.get_last_lr()[0])
                made.step()
                cycle.step()
            expected = np.array(expected + cycle.get_last_lr() * 21)
        else:
            expected = 1e-3 * np.where(t < 20, t / 20, after[name])
        np.testing.assert_allclose(rates, expected, atol=2e-9)

    @pytest.mark.parametrize("name", SCHEDULES)
    @pytest.mark.parametrize("warmup", [0, 50])
    def test_no_warm_up_and_nothing_else(self, name, warmup):
        schedule = make_schedule(TrainSettings(schedule=name, epochs=1, warmup_epochs=warmup), 4)
        rates = np.array([float(schedule(step)) for step in range(6)])
        assert np.isfinite(rates).all()
        assert 0 < rates.max() <= 3e-4 * 1.0001


@pytest.fixture
def model():
    return keras_vit.build("vit_mu16", num_classes=3, image_size=32, depth=2, seed=0)


class TestGroups:
    def test_factors_multiply(self, model):
        groups = [Group("block_0", rate=0.5, decay=2.0), Group("attention/qkv", rate=0.1), Group("bias$", decay=3.0)]
        paths = [variable.path for variable in model.trainable_variables]
        rates = dict(zip(paths, rate_scales(model, 0.9, 2.0, groups), strict=True))
        decays = dict(zip(paths, decay_scales(model, groups), strict=True))
        assert rates["block_0/attention/qkv/kernel"] == pytest.approx(0.9**2 * 0.5 * 0.1)
        assert rates["block_1/attention/qkv/bias"] == pytest.approx(0.9 * 0.1)
        assert rates["head/kernel"] == 2.0
        assert decays["block_0/mlp/expand/kernel"] == 2.0
        assert decays["block_1/mlp/expand/kernel"] == 1.0
        assert decays["block_0/mlp/expand/bias"] == decays["class_token/tokens"] == 0.0

    def test_frozen_variables_have_no_slots_and_do_not_move(self, model):
        freeze(model, 1)
        freeze_groups(model, [Group("qkv|norm", freeze=True)])
        learning = {variable.path for variable in model.trainable_variables}
        assert learning == {
            *(f"block_1/{part}/{w}" for part in ("attention/projection", "mlp/expand", "mlp/contract") for w in WORDS),
            *(f"head/{w}" for w in WORDS),
        }
        settings = TrainSettings(epochs=1, ema=0.5, weight_decay=0.5, learning_rate=0.1, warmup_epochs=0)
        model.compile(make_optimizer(settings, 5, model, "float32"), "mse")
        before = {variable.path: np.asarray(variable) for variable in model.weights}
        for _ in range(2):
            model.train_on_batch(np.ones((2, 32, 32, 3)), np.ones((2, 3)))
        moved = {v.path for v in model.weights if not np.array_equal(before[v.path], v)}
        assert moved == learning
        # Iterations and, for each learning variable, two moments and an average.
        assert len(model.optimizer.variables) == 1 + 3 * len(learning)

    def test_muon_takes_the_matrices_of_the_blocks(self, model):
        chosen = {v.path for v, takes in zip(model.trainable_variables, block_matrices(model), strict=True) if takes}
        parts = ("attention/qkv", "attention/projection", "mlp/expand", "mlp/contract")
        assert chosen == {f"block_{i}/{part}/kernel" for i in range(2) for part in parts}

    def test_rates_and_norms_by_layer(self, model):
        settings = TrainSettings(epochs=1, warmup_epochs=0, learning_rate=0.1, layer_decay=0.5)
        settings.groups = [Group("head/bias", rate=3.0)]
        for policy in ("float32", "mixed_float16"):
            optimizer = make_optimizer(settings, 5, model, policy)
            optimizer.build(model.trainable_variables)
            rates = group_rates(optimizer, model)
            assert rates["block_0"] == pytest.approx(0.025)
            assert (rates["head@1"], rates["head@3"]) == pytest.approx((0.1, 0.3))
        norms = layer_norms(model)
        assert list(norms) == list(dict.fromkeys(v.path.split("/")[0] for v in model.trainable_variables))
        head = model.get_layer("head")
        assert norms["head"] == pytest.approx(np.linalg.norm(np.asarray(head.kernel)), rel=1e-6)
        assert layer_norms(model, [np.ones(v.shape) for v in model.trainable_variables])["head"] == pytest.approx(
            np.sqrt(np.prod(head.kernel.shape) + 3)
        )

    @pytest.mark.parametrize(
        ("group", "sentence"),
        [
            ({"match": "blok_0"}, "finds no variable: they are called patch_embedding/"),
            ({"match": ".", "freeze": True}, "Everything is frozen"),
        ],
    )
    def test_groups_that_do_not_fit_the_model(self, group, sentence, model):
        with pytest.raises(InputError, match=sentence):
            freeze_groups(model, [Group(**group)])


WORDS = ("kernel", "bias")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"optimizer": "adam"}, "did you mean 'adamw'"),
        ({"optimizer_options": {"beta1": 0.9}}, "did you mean 'beta_1'"),
        ({"optimizer_options": {"weight_decay": 0.9}}, "no option 'weight_decay'"),
        ({"optimizer_options": {"beta_1": "high"}}, "of type float, not 'high'"),
        ({"optimizer": "muon", "optimizer_options": {"ns_steps": 2.5}}, "of type int"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"sam": -1.0}, "sam is at least 0"),
        ({"groups": [{"match": "(", "rate": 0.1}]}, "no regular expression"),
        ({"groups": [{"rate": 0.1}]}, "what it matches"),
        ({"groups": [{"match": "a", "rate": 0}]}, "use freeze"),
        ({"groups": [{"match": "a", "decay": -1}]}, "at least 0"),
        ({"groups": [{"match": "a", "rates": 1}]}, "did you mean 'rate'"),
        ({"groups": ["block_0"]}, "a group of settings"),
        ({"groups": "block_0"}, "is a list"),
    ],
)
def test_wrong_settings(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        Recipe.from_dict({"train": wrong})


def test_an_option_that_the_optimizer_refuses(model):
    with pytest.raises(InputError, match="do not fit sgd"):
        make_optimizer(TrainSettings(optimizer="sgd", optimizer_options={"momentum": 2}), 5, model, "float32")


def test_settings_survive_yaml():
    groups = [{"match": "block_0", "rate": 0.5, "decay": 1.0, "freeze": False}]
    train = {"optimizer": "sgd", "optimizer_options": {"momentum": 0.8}, "groups": groups, "sam": 0.1}
    recipe = Recipe.from_dict({"train": train})
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.train.groups == [Group("block_0", rate=0.5)]
    assert recipe.to_dict()["train"]["groups"] == groups
