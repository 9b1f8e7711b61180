from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from loyalty.metrics.rules import RetentionSets, Standing, ratio, suppressed

counts = st.integers(0, 10_000)
sets = st.builds(RetentionSets, retained=counts, lost=counts, new=counts, reactivated=counts)


def test_the_textbook_example_of_500_customers_of_whom_450_remain() -> None:
    found = RetentionSets(retained=450, lost=50, new=0, reactivated=0)
    assert found.retention.value == 0.9
    assert ratio(found.at_end, found.at_start) == 0.9


def test_the_textbook_examples_of_churn() -> None:
    for lost, start, rate in ((10, 100, 0.1), (20, 500, 0.04), (50, 1_000, 0.05), (8, 100, 0.08)):
        found = RetentionSets(retained=start - lost, lost=lost, new=7, reactivated=3)
        assert found.churn.value == rate


def test_the_textbook_rate_counts_new_customers_and_may_exceed_one() -> None:
    found = RetentionSets(retained=450, lost=50, new=100, reactivated=20)
    assert ratio(found.at_end, found.at_start) == 1.14
    assert ratio(found.at_end - found.new, found.at_start) == 0.94
    assert found.retention.value == 0.9


@given(sets)
def test_retention_and_churn_add_up_to_the_customers_at_the_start(found: RetentionSets) -> None:
    assert found.retention.successes + found.churn.successes == found.at_start
    assert found.at_end == found.retained + found.new + found.reactivated
    if found.at_start:
        assert found.retention.value is not None
        assert found.churn.value is not None
        assert isclose(found.retention.value + found.churn.value, 1, rel_tol=1e-15)


def test_a_share_of_nobody_has_no_value() -> None:
    assert ratio(0, 0) is None


def test_one_small_group_takes_the_next_smallest_with_it() -> None:
    sizes = {Standing.MEMBER: 500, Standing.NON_MEMBER: 900, Standing.JOINED_DURING: 40, Standing.LEFT_DURING: 3}
    assert suppressed(sizes) == {Standing.LEFT_DURING, Standing.JOINED_DURING}


def test_two_small_groups_hide_each_other_and_empty_ones_hide_nobody() -> None:
    sizes = {Standing.MEMBER: 500, Standing.NON_MEMBER: 9, Standing.JOINED_DURING: 0, Standing.LEFT_DURING: 3}
    assert suppressed(sizes) == {Standing.NON_MEMBER, Standing.LEFT_DURING}
    assert suppressed({Standing.MEMBER: 10, Standing.NON_MEMBER: 10}) == frozenset()


@given(st.dictionaries(st.sampled_from(Standing), st.integers(0, 30)))
def test_no_hidden_group_follows_from_a_total(sizes: dict[Standing, int]) -> None:
    hidden = suppressed(sizes)
    held = [standing for standing, size in sizes.items() if size]
    assert all(standing in hidden for standing in held if sizes[standing] < 10)
    assert len(hidden) != 1 or len(held) == 1
