"""Which cores a rank's calculations get."""

from hpcml.generation.ranks.generate_program import pinned_cpus


def test_ranks_of_a_host_share_its_cores_in_order():
    hosts = ["a", "b", "a", "b", "a"]
    allowed = {0, 1, 2, 3, 8, 9}
    assert [pinned_cpus(rank, hosts, 2, allowed) for rank in (0, 2, 4)] == [[0, 1], [2, 3], [8, 9]]
    assert pinned_cpus(1, hosts, 2, allowed) == [0, 1]


def test_too_few_cores_and_cores_given_by_the_launcher_are_left_alone():
    assert pinned_cpus(0, ["a", "a", "a"], 1, {0, 1}) is None
    # srun --cpu-bind has given each of two ranks two cores of its own
    assert pinned_cpus(1, ["a", "a"], 2, {2, 3}) is None
