import keras
import tensorflow as tf

from fcam_tf.graphs.replicas import mean_over_replicas, replicas, sum_over_replicas


def test_without_a_strategy():
    assert replicas() == 1
    assert float(sum_over_replicas(keras.ops.convert_to_tensor(3.0))) == 3
    assert float(mean_over_replicas(keras.ops.convert_to_tensor([1.0, 2.0, 6.0]))) == 3


def test_one_device():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        assert replicas() == 1
        assert float(strategy.run(lambda: sum_over_replicas(tf.constant(3.0)))) == 3
