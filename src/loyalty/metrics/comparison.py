"""Members beside non-members: the raw rates, then the comparison of like with like. Neither rung proves a cause."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.money import MoneyOut
from loyalty.metrics import adjusted, queries, rules, strata, windows
from loyalty.metrics import trials as trial_queries
from loyalty.metrics.adjusted import Comparison, Contrast, Coverage, Placebo
from loyalty.metrics.balance import Balance, covariate_balance
from loyalty.metrics.intervals import Bounds, Share, newcombe, wilson
from loyalty.metrics.rules import EverMembers, JoinCounts, Linkable, RetentionSets, Standing, Takings, Trials, View
from loyalty.metrics.schemas import (
    AdjustedAssociation,
    BalanceOut,
    Interval,
    LinkableOut,
    MembersVersusNonMembers,
    NaiveDifference,
    PlaceboOut,
    Ratio,
    RawAssociation,
    Remark,
    StandingRate,
    UnidentifiedOrders,
)
from loyalty.metrics.service import UNFINISHED, check_horizon, interval_out, window_out
from loyalty.metrics.windows import Period, Window

RAW_LABEL = "association_raw"
RAW_NOTE = "self-selected groups"
ADJUSTED_LABEL = "association_adjusted"
ADJUSTED_NOTE = "differences in unmeasured intent remain"

COARSE = Remark(
    code="coarse_strata",
    text="Too few controls for fine strata: some difference in past buying may remain within them.",
)
IMBALANCE = Remark(
    code="imbalance_remains",
    text="A covariate still differs by more than 0.1 standard deviations after stratification.",
)
PLACEBO_FAILED = Remark(
    code="placebo_differs",
    text="Joiners already bought faster or slower before joining, beyond chance: do not rely on this.",
)
AWAY = Remark(
    code="many_joins_away_from_an_order",
    text="More than a fifth of the joins belong to no order; the figure speaks of those at an order only.",
)
AWAY_SHARE = 0.2


async def members_versus_non_members(
    session: AsyncSession,
    *,
    view: View,
    window: Window | None = None,
    trial_window: Window | None = None,
    horizon_days: int = adjusted.HORIZON_DAYS,
) -> MembersVersusNonMembers:
    """Compare members with non-members.

    `window` is that of the raw rates (last quarter), `trial_window` that of the orders compared: by default the latest
    365 days whose outcomes are all known at `as_of`.
    """
    check_horizon(horizon_days)
    window = window or windows.last_finished(view.data_complete_until, period=Period.QUARTER, zone=view.zone)
    if trial_window is None:
        days = adjusted.GRACE_DAYS + horizon_days
        end = windows.mature_end(view.data_complete_until, horizon_days=days, zone=view.zone)
        trial_window = windows.trailing(end=end, days=rules.COMPARISON_WINDOW_DAYS, zone=view.zone)
    return MembersVersusNonMembers(
        metric=rules.MEMBERS_VERSUS_NON_MEMBERS.slug,
        definition_version=rules.MEMBERS_VERSUS_NON_MEMBERS.version,
        as_of=view.as_of,
        data_complete_until=view.data_complete_until,
        association_raw=await raw_association(session, view=view, window=window),
        association_adjusted=await adjusted_association(
            session, view=view, window=trial_window, horizon_days=horizon_days
        ),
    )


async def raw_association(session: AsyncSession, *, view: View, window: Window) -> RawAssociation:
    """Compare retention by standing at the first instant of the previous window, not by who ever became a member."""
    sets = await queries.list_retention_sets(session, view=view, window=window)
    groups = {standing: sets.get(standing, rules.NO_BUYERS) for standing in Standing}
    hidden = rules.suppressed({standing: group.at_start for standing, group in groups.items()})
    members, others = groups[Standing.MEMBER].retention, groups[Standing.NON_MEMBER].retention
    withheld = _raw_withheld_because(members, others, hidden=hidden)
    shown = withheld is None
    return RawAssociation(
        label=RAW_LABEL,
        note=RAW_NOTE,
        window=window_out(window),
        previous_window=window_out(window.previous()),
        groups=[_standing_rate(standing, groups[standing], hidden=standing in hidden) for standing in Standing],
        difference=members.successes / members.trials - others.successes / others.trials if shown else None,
        difference_interval=interval_out(newcombe(members, others)) if shown else None,
        difference_withheld_because=withheld,
        unidentified_previous=_takings(await queries.list_unidentified(session, view=view, window=window.previous())),
        unidentified=_takings(await queries.list_unidentified(session, view=view, window=window)),
        warnings=[UNFINISHED] if window.ends_at > view.data_complete_until else [],
    )


async def adjusted_association(
    session: AsyncSession, *, view: View, window: Window, horizon_days: int
) -> AdjustedAssociation:
    """Compare joiners with controls of their stratum; fine strata if nine joins in ten have controls there."""
    grace = adjusted.GRACE_DAYS
    grid = strata.FINE
    trials = await trial_queries.find_trials(
        session, view=view, window=window, grid=grid, grace_days=grace, horizon_days=horizon_days
    )
    coverage = adjusted.coverage(trials.cells)
    if coverage.joins_with_controls < strata.FINE_OVERLAP * coverage.joins:
        grid = strata.COARSE
        trials = await trial_queries.find_trials(
            session, view=view, window=window, grid=grid, grace_days=grace, horizon_days=horizon_days
        )
        coverage = adjusted.coverage(trials.cells)
    joins = await trial_queries.count_joins(session, view=view, window=window, grace_days=grace)
    linkable = await trial_queries.list_linkable(
        session,
        view=view,
        first=window.first,
        end=window.end + timedelta(days=grace + horizon_days),
        channels=rules.CHANNELS_SHOWN,
    )
    withheld = coverage.withheld_because
    comparison = None
    if withheld is None:
        unlinkable = sum(row.unidentified for row in linkable)
        comparison = adjusted.compare(trials.cells, trials.spread, unlinkable_orders=unlinkable)
    contrast = comparison.contrast if comparison else None
    balance = covariate_balance(trials.cells) if withheld is None else []
    return AdjustedAssociation(
        label=ADJUSTED_LABEL,
        note=ADJUSTED_NOTE,
        value=contrast.difference if contrast else None,
        interval=interval_out(contrast.interval) if contrast else None,
        withheld_because=withheld,
        window=window_out(window),
        mode=window.mode,
        excluded=_left_out(trials, joins, coverage),
        warnings=_remarks(grid, balance, comparison, joins),
        grace_days=grace,
        horizon_days=horizon_days,
        grid=grid.name,
        strata=coverage.strata,
        joins=coverage.joins,
        joins_with_controls=coverage.joins_with_controls,
        controls=coverage.controls,
        controls_joining_later=trials.controls_joining_later,
        overlap=coverage.overlap,
        joined_rate=contrast.joined_rate if contrast else None,
        control_rate=contrast.control_rate if contrast else None,
        risk_ratio=_ratio(comparison),
        mantel_haenszel_difference=comparison.mantel_haenszel if comparison else None,
        balance=[_balance(one) for one in balance],
        placebo=_placebo(comparison.placebo) if comparison and comparison.placebo else None,
        placebo_missing_because=_placebo_missing_because(comparison),
        naive=_naive(await trial_queries.count_ever_members(session, view=view, window=window), contrast),
        linkable=[_linkable(row) for row in linkable],
        worst_case_difference=comparison.worst_case if comparison else None,
    )


def _raw_withheld_because(members: Share, others: Share, *, hidden: frozenset[Standing]) -> str | None:
    if hidden & {Standing.MEMBER, Standing.NON_MEMBER}:
        return "group_suppressed"
    if min(members.trials, others.trials) < rules.SMALL_SAMPLE:
        return "small_sample"
    return None


def _standing_rate(standing: Standing, sets: RetentionSets, *, hidden: bool) -> StandingRate:
    share = sets.retention
    return StandingRate(
        standing=standing,
        suppressed=hidden,
        value=None if hidden else share.value,
        numerator=None if hidden else share.successes,
        denominator=None if hidden else share.trials,
        interval=None if hidden else interval_out(wilson(share)),
        small_sample=share.trials < rules.SMALL_SAMPLE,
    )


def _takings(rows: list[Takings]) -> list[UnidentifiedOrders]:
    return [
        UnidentifiedOrders(orders=row.orders, revenue=MoneyOut(amount=row.revenue_minor, currency=row.currency))
        for row in rows
    ]


def _left_out(trials: Trials, joins: JoinCounts, coverage: Coverage) -> dict[str, int]:
    return {
        "trials_immature": trials.immature,
        "trials_with_a_purchase_inside_the_grace": trials.inside_grace,
        "joins_immature": trials.immature_joins,
        "joins_with_a_purchase_inside_the_grace": trials.inside_grace_joins,
        "joins_without_controls": coverage.joins - coverage.joins_with_controls,
        "joins_before_first_order": joins.before_first_order,
        "joins_away_from_an_order": joins.away_from_an_order,
        "joins_at_an_order_not_counted": joins.order_not_counted,
    }


def _remarks(
    grid: strata.Grid, balance: list[Balance], comparison: Comparison | None, joins: JoinCounts
) -> list[Remark]:
    placebo = comparison.placebo if comparison else None
    belonging_to_none = joins.before_first_order + joins.away_from_an_order + joins.order_not_counted
    found = {
        COARSE: grid is strata.COARSE,
        IMBALANCE: any(one.notable for one in balance),
        PLACEBO_FAILED: placebo is not None and not placebo.contrast.interval.covers(0),
        AWAY: belonging_to_none > AWAY_SHARE * joins.joins,
    }
    return [remark for remark, holds in found.items() if holds]


def _ratio(comparison: Comparison | None) -> Ratio | None:
    risk = comparison.risk_ratio if comparison else None
    if risk is None:
        return None
    return Ratio(
        value=risk.value,
        interval=_interval(risk.interval),
        e_value=risk.e_value,
        e_value_of_limit=risk.e_value_of_limit,
    )


def _interval(bounds: Bounds) -> Interval:
    return Interval(method=bounds.method, level=bounds.level, low=bounds.low, high=bounds.high)


def _balance(one: Balance) -> BalanceOut:
    return BalanceOut(covariate=one.covariate, before=one.before, after=one.after, flagged=one.notable)


def _placebo(placebo: Placebo) -> PlaceboOut:
    return PlaceboOut(
        difference=placebo.contrast.difference,
        interval=_interval(placebo.contrast.interval),
        joins=placebo.contrast.joins,
        controls=placebo.contrast.controls,
        detectable=placebo.detectable,
    )


def _placebo_missing_because(comparison: Comparison | None) -> str | None:
    if comparison is None:
        return "comparison_withheld"
    return None if comparison.placebo else "no_placebo"


def _naive(counts: EverMembers, contrast: Contrast | None) -> NaiveDifference:
    members = Share(successes=counts.members_repeated, trials=counts.members)
    others = Share(successes=counts.others_repeated, trials=counts.others)
    value = times = None
    if min(counts.members, counts.others) >= rules.SMALLEST_GROUP:
        value = members.successes / members.trials - others.successes / others.trials
        if contrast is not None and not contrast.interval.covers(0):
            times = value / contrast.difference
    return NaiveDifference(
        value=value,
        interval=interval_out(newcombe(members, others)) if value is not None else None,
        members=counts.members,
        others=counts.others,
        times_adjusted=times,
    )


def _linkable(row: Linkable) -> LinkableOut:
    """Members are recognised by definition; an unidentified order is counted against the others."""
    return LinkableOut(
        channel="other" if row.channel is None else row.channel or None,
        member_orders=row.members,
        other_orders=row.others,
        unidentified_orders=row.unidentified,
        linkable_share_members=rules.ratio(row.members, row.members),
        linkable_share_others=rules.ratio(row.others, row.others + row.unidentified),
    )
