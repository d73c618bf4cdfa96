import keras
import tensorflow as tf

from fcam_tf.graphs.replicas import replicas, sum_over_replicas


def test_without_a_strategy():
    assert replicas() == 1
    assert float(sum_over_replicas(keras.ops.convert_to_tensor(3.0))) == 3


def test_one_device():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        assert replicas() == 1
        assert float(strategy.run(lambda: sum_over_replicas(tf.constant(3.0)))) == 3
