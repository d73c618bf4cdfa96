import json

import pytest

from fcam_tf.training.cluster import Cluster, cluster_of


def config(jobs, job="worker", index=0):
    return json.dumps({"cluster": jobs, "task": {"type": job, "index": index}})


@pytest.mark.parametrize(
    "text", [None, "", " ", "{}", config({"worker": ["a:1"]}), config({"chief": ["a:1"]}, "chief")]
)
def test_one_machine_is_none(text):
    assert cluster_of(text) is None


def test_workers_and_a_chief_before_them():
    workers = {"worker": ["b:1", "c:2"]}
    assert cluster_of(config(workers, index=1)) == Cluster(("b:1", "c:2"), 1)
    all_three = {**workers, "chief": ["a:1"]}
    assert cluster_of(config(all_three, "worker", 0)) == Cluster(("a:1", "b:1", "c:2"), 1)
    assert cluster_of(config(all_three, "chief", 0)) == Cluster(("a:1", "b:1", "c:2"), 0)


@pytest.mark.parametrize(
    "text",
    [
        "worker",
        "[]",
        "3",
        config({"worker": ["a:1", "b:1"]}, index=2),
        config({"worker": ["a:1", "b:1"]}, index="x"),
        config({"worker": ["a:1", "b:1"]}, "ps"),
        config({"worker": ["a:1", "b"]}),
        config({"worker": ["a:1", 3]}),
        config({"worker": ["a:1", "b:1"], "ps": ["c:1"]}),
        json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}),
        json.dumps({"cluster": ["a:1"]}),
    ],
)
def test_others_are_refused(text):
    with pytest.raises(ValueError, match="`TF_CONFIG` must name workers"):
        cluster_of(text)
