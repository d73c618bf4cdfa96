from concurrent.futures import ThreadPoolExecutor

import pytest

from fcam_tf.streams import lookahead


@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_order_and_bound(ahead):
    drawn = []

    def items():
        for i in range(20):
            drawn.append(i)
            yield i

    with ThreadPoolExecutor(4) as pool:
        for taken, result in enumerate(lookahead(pool, lambda i: i * i, items(), ahead)):
            assert result == taken * taken
            assert len(drawn) <= taken + 1 + ahead
    assert drawn == list(range(20))


def test_nothing():
    with ThreadPoolExecutor(1) as pool:
        assert list(lookahead(pool, str, [], 3)) == []


def test_an_error_comes_in_its_place():
    with ThreadPoolExecutor(2) as pool:
        results = lookahead(pool, lambda i: 1 // i, [1, 0, 1], 3)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


@pytest.mark.parametrize("failure", [ZeroDivisionError, KeyboardInterrupt])
def test_what_came_before_a_failing_item_comes_first(failure):
    def items():
        yield 1
        yield 2
        raise failure

    with ThreadPoolExecutor(2) as pool:
        results = lookahead(pool, str, items(), 5)
        assert [next(results), next(results)] == ["1", "2"]
        with pytest.raises(failure):
            next(results)
