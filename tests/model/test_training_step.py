"""The formulations of the training step are exact: fused gradients, recomputed blocks, attention in blocks."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vit
from keras_vit.layers import EncoderBlock, fused, scaled_attention

SETTINGS = [("vit_mu4", {}), ("beit_mu4", {}), ("dinov3_mu4", {}), ("eva02_mu4", {}), ("vit_mu4", {"window": 3})]


on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow alone computes it on a processor"
)


def mean_loss(logits, targets):
    return keras.ops.mean(keras.losses.categorical_crossentropy(targets, logits, from_logits=True))


def step_on_tensorflow(model, images, targets, training):
    @tf.function
    def run(images, targets):
        with tf.GradientTape() as tape:
            loss = mean_loss(model(images, training=training), targets)
        return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    return run(images, targets)


def step_on_jax(model, images, targets, training):
    import jax

    def run(weights, others, images, targets):
        logits, others = model.stateless_call(weights, others, images, training=training)
        return mean_loss(logits, targets), others

    values = [
        [variable.value for variable in kind] for kind in (model.trainable_variables, model.non_trainable_variables)
    ]
    # XLA may leave out roundings to half precision, here and not there.
    exact = {"xla_allow_excess_precision": False}
    step = jax.jit(jax.value_and_grad(run, has_aux=True), compiler_options=exact)
    (loss, others), gradients = step(*values, images, targets)
    for variable, value in zip(model.non_trainable_variables, others, strict=True):
        variable.assign(value)
    return loss, gradients


def step(model, images, targets, training=True):
    """Loss and gradients of one batch in a graph."""
    run = {"tensorflow": step_on_tensorflow, "jax": step_on_jax}[keras.backend.backend()]
    loss, gradients = run(model, images, targets, training)
    return float(loss), [keras.ops.convert_to_numpy(gradient) for gradient in gradients]


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (3, 32, 28, 3)).astype("float32")
    return images, np.eye(5, dtype="float32")[[0, 3, 4]]


def build(name, **settings):
    return keras_vit.build(name, num_classes=5, image_size=(32, 28), depth=2, seed=1, **settings)


def assert_close(found, wanted, tolerance):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * max(np.abs(other).max(), 1e-3))


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_the_fused_step_has_the_plain_step_s_gradients(name, settings, batch, randomize):
    model = build(name, **settings)
    randomize(model)
    loss, gradients = step(model, *batch)
    plain_loss, plain = step(model, *batch, training=False)
    np.testing.assert_allclose(loss, plain_loss, rtol=1e-5)
    assert_close(gradients, plain, 2e-5)


@pytest.mark.parametrize("policy", ["float32", pytest.param("mixed_float16", marks=on_tensorflow), "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["vit_mu4", "beit_mu4"])
def test_recomputed_blocks_have_the_same_gradients_with_masks(name, policy, batch):
    masks = {"dropout": 0.3, "drop_path": 0.3, "dtype": policy}
    kept, again = (build(name, remat=remat, **masks) for remat in (None, "block"))
    again.set_weights(kept.get_weights())
    for _ in range(2):  # The second step draws other masks, the same in both models.
        loss, gradients = step(again, *batch)
        plain_loss, plain = step(kept, *batch)
        assert loss == pytest.approx(plain_loss, rel=1e-6)
        assert_close(gradients, plain, 1e-5 if policy == "float32" else 2e-3)
    assert step(kept, *batch)[0] != plain_loss, "no masks were drawn"


def test_merged_tokens_are_recomputed_too(batch):
    settings = {"token_merging": {0: 8}, "drop_path": 0.2}
    kept, again = (build("dinov3_mu4", remat=remat, **settings) for remat in (None, "block"))
    again.set_weights(kept.get_weights())
    assert_close(step(again, *batch)[1], step(kept, *batch)[1], 1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("jit", [False, True])
def test_blocks_of_queries_are_plain_attention(training, jit, monkeypatch):
    monkeypatch.setattr(scaled_attention, "LONG", 50)
    monkeypatch.setattr(scaled_attention, "BLOCK", 32)
    rng = np.random.default_rng(2)
    given = [rng.normal(size=(2, 71, 3, 8)).astype("float32") for _ in range(3)]

    def total(mixed):
        return keras.ops.sum(mixed * np.arange(71, dtype="float32")[:, None, None])

    def on_tensorflow(function):
        @tf.function(jit_compile=jit)
        def run(*given):
            with tf.GradientTape() as tape:
                tape.watch(given)
                mixed = function(*given)
                value = total(mixed)
            return mixed, tape.gradient(value, given)

        return run(*map(tf.constant, given))

    def on_jax(function):
        import jax

        def run(*given):
            mixed = function(*given)
            return total(mixed), mixed

        gradient = jax.grad(run, argnums=(0, 1, 2), has_aux=True)
        slopes, mixed = (jax.jit(gradient) if jit else gradient)(*given)
        return mixed, slopes

    run = {"tensorflow": on_tensorflow, "jax": on_jax}[keras.backend.backend()]
    found = run(lambda *given: scaled_attention.scaled_attention(*given, training=training))
    wanted = run(lambda *given: keras.ops.dot_product_attention(*given, scale=1.0))
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-5)
    assert_close([np.asarray(each) for each in found[1]], [np.asarray(each) for each in wanted[1]], 1e-5)


@on_tensorflow
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_fused_functions_are_those_of_keras(dtype):
    rng = np.random.default_rng(3)
    x = tf.cast(tf.constant(rng.normal(0, 3, (4, 7, 16)).astype("float32")), dtype)
    gamma, beta = (tf.constant(rng.normal(1, 0.5, 16).astype("float32")) for _ in range(2))
    upstream = tf.cast(tf.constant(rng.normal(size=(4, 7, 16)).astype("float32")), dtype)

    def both(function, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(*inputs)
        assert outputs.dtype == dtype
        slopes = tape.gradient(outputs, inputs, output_gradients=upstream)
        return [np.asarray(tf.cast(each, tf.float32)) for each in (outputs, *slopes)]

    def precise(function):
        return lambda *inputs: tf.cast(function(*(tf.cast(each, tf.float32) for each in inputs)), dtype)

    tolerance = {"float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    gelu = precise(lambda x: keras.activations.gelu(x, approximate=False))
    assert_close(both(fused.gelu, x), both(gelu, x), tolerance)
    norm = precise(lambda x, gamma, beta: keras.ops.layer_normalization(x, gamma, beta, epsilon=1e-6))
    kernel = tf.cast(tf.constant(rng.normal(size=(16, 16)).astype("float32")), dtype)
    product = precise(lambda x, kernel, bias: tf.matmul(x, kernel) + bias)
    given = (x, kernel, tf.cast(beta, dtype))
    assert_close(both(fused.dense, *given), both(product, *given), 2 * tolerance)
    ours = both(lambda *given: fused.layer_normalization(*given, 1e-6, dtype), x, gamma, beta)
    assert_close(ours, both(norm, x, gamma, beta), tolerance)


def test_remat_has_one_form():
    with pytest.raises(keras_vit.errors.InputError, match='remat is "block" or None'):
        build("vit_mu4", remat="full")


@on_tensorflow
@pytest.mark.parametrize("remat", [None, "block"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_blocks_that_are_alike_are_traced_once_and_compute_their_own(policy, remat, batch, randomize, monkeypatch):
    """Outside a graph every block runs by itself: same weights and masks must give the same loss and gradients."""
    settings = {"drop_path": 0.4, "dropout": 0.2, "dtype": policy, "remat": remat}
    model = keras_vit.build("vit_mu4", num_classes=5, image_size=(32, 28), depth=5, seed=1, **settings)
    randomize(model)
    weights = {id(weight) for weight in model.weights}
    generators = [variable for variable in model.variables if id(variable) not in weights]
    start = [keras.ops.convert_to_numpy(state) for state in generators]
    traced, transform = [], EncoderBlock._transform
    monkeypatch.setattr(
        EncoderBlock, "_transform", lambda block, *given, **how: traced.append(block) or transform(block, *given, **how)
    )
    loss, gradients = step(model, *batch)
    # The first block is never left out, so that it is of another form than the four after it.
    assert {block.name for block in traced} == {"block_0", "block_1"}
    for state, value in zip(generators, start, strict=True):
        state.assign(value)
    with tf.GradientTape() as tape:
        plain = mean_loss(model(batch[0], training=True), batch[1])
    wanted = tape.gradient(plain, [variable.value for variable in model.trainable_variables])
    assert loss == pytest.approx(float(plain), rel=1e-5 if policy == "float32" else 5e-3)
    assert_close(gradients, [np.asarray(each) for each in wanted], 1e-4 if policy == "float32" else 2e-2)


@on_tensorflow
def test_a_step_that_xla_compiles_whole_is_plain(batch, randomize):
    """Islands and functions inside of it would take XLA minutes, and make the step slower."""
    seen = {}

    def look(jit):
        @tf.function(jit_compile=jit)
        def outer(x):
            seen[jit] = [fused.trains_on_tensorflow(True)]
            inner = tf.function(lambda y: seen[jit].append(fused.trains_on_tensorflow(True)) or y)
            return inner(x)

        outer(tf.constant(0.0))

    look(jit=True)
    look(jit=False)
    assert seen == {True: [False, False], False: [True, True]}

    model = build("vit_mu4")
    randomize(model)
    loss, gradients = step(model, *batch)
    compiled = tf.function(lambda *given: step_on_tensorflow(model, *given, True), jit_compile=True)
    xla_loss, xla_gradients = compiled(*map(tf.constant, batch))
    assert float(xla_loss) == pytest.approx(loss, rel=1e-5)
    assert_close([np.asarray(each) for each in xla_gradients], gradients, 1e-4)
