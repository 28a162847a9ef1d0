"""The pure parts of the benchmarks: figures, tables, and whether a promise is kept."""

from __future__ import annotations

from benchmarks.contest import Contender, Told, in_turns
from benchmarks.figures import Spread, paired_ratio, percentile, shown
from benchmarks.report import Contest, Promise
from benchmarks.table import table


def test_a_ratio_is_taken_round_by_round() -> None:
    """The machine was twice as slow in the second round; the contenders were not."""
    assert paired_ratio([30, 15, 33], [10, 5, 10]) == Spread(3.0, 3.0, 3.3)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 201)]
    assert percentile(values, 0.5) == 100
    assert percentile(values, 0.99) == 198
    assert percentile(values, 1.0) == 200
    assert percentile([7.0], 0.5) == 7


def test_numbers_are_shown_with_the_digits_that_count() -> None:
    assert [shown(value) for value in (1234.5, 123.4, 12.34, 1.234)] == [
        "1,234",
        "123",
        "12.3",
        "1.23",
    ]


def test_a_table_is_aligned() -> None:
    assert table(["who", "rate"], [["ours", "1,200"], ["b", "7"]]).splitlines() == [
        "| who  |  rate |",
        "| ---- | ----: |",
        "| ours | 1,200 |",
        "| b    |     7 |",
    ]


def test_a_promise_has_a_floor_or_a_ceiling() -> None:
    assert Promise("speed", 1.0, 1.0).row() == ["speed", "≥ 1 ×", "1.00 ×", "yes"]  # noqa: RUF001
    assert Promise("wait", 31, 30, "ms", at_most=True).row()[1:] == ["≤ 30 ms", "31.0 ms", "no"]


def test_contenders_take_turns_and_the_order_changes() -> None:
    order: list[str] = []

    def contender(key: str, seconds: float) -> Contender:
        def once() -> Told:
            order.append(key)
            return {"count": 100, "seconds": seconds, "cpu": 0.01}

        return Contender(key, key.upper(), once)

    both = [contender("a", 0.5), contender("b", 1.0)]
    outcome = Contest(both, in_turns(both, 3, lambda words: None), base="b")

    assert order == ["a", "b", "b", "a", "a", "b"]
    assert outcome.fastest(["a", "b"]) == "a"
    assert outcome.ratio("a", "b") == 2.0
    assert outcome.rows()[0] == ["A", "200", "200–200", "100", "2.00 ×"]  # noqa: RUF001
