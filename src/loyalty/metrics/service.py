"""Ask the database, then say it with its interval, its exclusions and its warnings."""

from datetime import timedelta

from msgspec.structs import asdict
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.metrics import queries, rules, windows
from loyalty.metrics.errors import HorizonRefused
from loyalty.metrics.intervals import Bounds, Share, wilson
from loyalty.metrics.rules import Definition, RetentionSets, View
from loyalty.metrics.schemas import (
    ChurnRate,
    CrrTextbook,
    Figure,
    Interval,
    ReferralRate,
    ReferredCustomerShare,
    Remark,
    RepeatPurchaseRate,
    RetentionRate,
    WindowOut,
)
from loyalty.metrics.windows import Period, Window

UNFINISHED = Remark(code="window_unfinished", text="Not all of the window is complete, so the figure may still change.")
IMMATURE = Remark(
    code="window_not_mature", text="Referrals qualified after mature_through may still be on hold, so this may rise."
)
SUSPENDED = Remark(
    code="suspended_members_included", text="Members suspended now are included, since when is not part of the figure."
)
TEXTBOOK = Remark(
    code="counts_new_and_returning_customers",
    text="The numerator counts new and returning customers: this is no share of those at the start and may exceed 1.",
)
NET_OF_NEW = Remark(
    code="counts_returning_customers",
    text="The numerator counts customers who bought earlier and came back: this may exceed 1.",
)
PROVISIONAL = Remark(code="provisional", text="Counts referrals that are not approved yet and may still be refused.")
IMMATURE_ENTRANTS = Remark(
    code="immature_entrants_left_out", text="Customers whose horizon is not over are in neither count."
)


async def retention_rate(session: AsyncSession, *, view: View, window: Window | None = None) -> RetentionRate:
    """Of the customers with a counted order in the previous window, the share with one in this (last quarter)."""
    window = window or _last_quarter(view)
    sets = await _buyers(session, view=view, window=window)
    return RetentionRate(
        **asdict(
            share_figure(
                rules.RETENTION_RATE,
                sets.retention,
                view=view,
                window=window,
                excluded=await queries.count_orders_left_out(session, view=view, window=window.with_previous()),
            )
        ),
        previous_window=window_out(window.previous()),
        retained=sets.retained,
        lost=sets.lost,
        new=sets.new,
        reactivated=sets.reactivated,
        at_start=sets.at_start,
        at_end=sets.at_end,
    )


async def churn_rate(session: AsyncSession, *, view: View, window: Window | None = None) -> ChurnRate:
    """Exactly 1 - retention rate of the same window."""
    window = window or _last_quarter(view)
    sets = await _buyers(session, view=view, window=window)
    excluded = await queries.count_orders_left_out(session, view=view, window=window.with_previous())
    return ChurnRate(
        **asdict(share_figure(rules.CHURN_RATE, sets.churn, view=view, window=window, excluded=excluded)),
        previous_window=window_out(window.previous()),
    )


async def crr_textbook(session: AsyncSession, *, view: View, window: Window | None = None) -> CrrTextbook:
    """Divide customers at the end by customers at the start, as textbooks do: no proportion, hence no interval."""
    window = window or _last_quarter(view)
    sets = await _buyers(session, view=view, window=window)
    excluded = await queries.count_orders_left_out(session, view=view, window=window.with_previous())
    return CrrTextbook(
        **asdict(
            ratio_figure(
                rules.CRR_TEXTBOOK,
                (sets.at_end, sets.at_start),
                view=view,
                window=window,
                excluded=excluded,
                warnings=[TEXTBOOK],
            )
        ),
        previous_window=window_out(window.previous()),
        net_of_new=ratio_figure(
            rules.CRR_NET_OF_NEW,
            (sets.at_end - sets.new, sets.at_start),
            view=view,
            window=window,
            excluded={**excluded, "new_customers": sets.new},
            warnings=[NET_OF_NEW],
        ),
    )


async def repeat_purchase_rate(
    session: AsyncSession,
    *,
    view: View,
    window: Window | None = None,
    horizon_days: int = rules.REPEAT_HORIZON_DAYS,
) -> RepeatPurchaseRate:
    """Of those whose first purchase day is in the window and at least the horizon ago, the share with a second in it.

    The default window is the latest 90 days of which all entrants are mature.
    """
    check_horizon(horizon_days)
    if window is None:
        end = windows.mature_end(view.data_complete_until, horizon_days=horizon_days, zone=view.zone)
        window = windows.trailing(end=end, days=rules.REPEAT_WINDOW_DAYS, zone=view.zone)
    counts = await queries.count_repeat_buyers(session, view=view, window=window, horizon_days=horizon_days)
    excluded = await queries.count_orders_left_out(session, view=view, window=window)
    return RepeatPurchaseRate(
        **asdict(
            share_figure(
                rules.REPEAT_PURCHASE_RATE,
                Share(successes=counts.repeated, trials=counts.entrants),
                view=view,
                window=window,
                excluded={**excluded, "immature_customers": counts.immature},
                warnings=[IMMATURE_ENTRANTS] if counts.immature else [],
            )
        ),
        horizon_days=horizon_days,
        matured=counts.immature == 0,
    )


async def referral_rate(
    session: AsyncSession, *, view: View, hold_days: int, window: Window | None = None
) -> ReferralRate:
    """Of the members eligible in the window, the share with an approved referral that qualified in it.

    The default window is the 90 days that end `hold_days` before `as_of`, so that its referrals are past their hold.
    """
    check_horizon(hold_days, shortest_days=0)
    mature = windows.mature_end(view.data_complete_until, horizon_days=hold_days, zone=view.zone)
    window = window or windows.trailing(end=mature, days=rules.REFERRAL_WINDOW_DAYS, zone=view.zone)
    tenured_by = windows.first_instant(window.end - timedelta(days=rules.TENURE_DAYS), zone=view.zone)
    counts = await queries.count_referrers(session, view=view, window=window, tenured_by=tenured_by)
    ended = {"referrals_ended": counts.ended, "referrals_by_members_not_eligible": counts.by_others}
    excluded = {**ended, "referrals_not_approved": counts.waiting}
    warnings = [IMMATURE] if window.end > mature else []
    warnings += [SUSPENDED] if counts.suspended else []

    def figure(
        definition: Definition, successes: int, trials: int, excluded: dict[str, int], more: list[Remark]
    ) -> Figure:
        share = Share(successes=successes, trials=trials)
        return share_figure(definition, share, view=view, window=window, excluded=excluded, warnings=[*warnings, *more])

    return ReferralRate(
        **asdict(figure(rules.REFERRAL_RATE, counts.approved, counts.members, excluded, [])),
        basis="activity",
        hold_days=hold_days,
        mature_through=mature,
        tenured=figure(
            rules.REFERRAL_RATE_TENURED,
            counts.approved_tenured,
            counts.tenured,
            {**excluded, "members_joined_recently": counts.members - counts.tenured},
            [],
        ),
        qualified=figure(rules.REFERRAL_RATE_QUALIFIED, counts.qualified, counts.members, ended, [PROVISIONAL]),
    )


async def referred_customer_share(
    session: AsyncSession, *, view: View, window: Window | None = None
) -> ReferredCustomerShare:
    """Of the customers whose first counted order is in the window, the share bound to an advocate (last quarter)."""
    window = window or _last_quarter(view)
    counts = await queries.count_referred_customers(session, view=view, window=window)
    excluded = await queries.count_orders_left_out(session, view=view, window=window)
    return ReferredCustomerShare(
        **asdict(
            share_figure(
                rules.REFERRED_CUSTOMER_SHARE,
                Share(successes=counts.referred, trials=counts.newcomers),
                view=view,
                window=window,
                excluded={**excluded, "bindings_ended": counts.ended},
            )
        ),
        basis="activity",
    )


def check_horizon(days: int, *, shortest_days: int = 1) -> None:
    if not shortest_days <= days <= rules.LONGEST_HORIZON_DAYS:
        raise HorizonRefused(shortest_days=shortest_days, longest_days=rules.LONGEST_HORIZON_DAYS)


def share_figure(
    definition: Definition,
    share: Share,
    *,
    view: View,
    window: Window,
    excluded: dict[str, int],
    warnings: list[Remark] | None = None,
) -> Figure:
    figure = ratio_figure(
        definition,
        (share.successes, share.trials),
        view=view,
        window=window,
        excluded=excluded,
        warnings=warnings or [],
    )
    return Figure(**{**asdict(figure), "interval": interval_out(wilson(share))})


def ratio_figure(
    definition: Definition,
    counts: tuple[int, int],
    *,
    view: View,
    window: Window,
    excluded: dict[str, int],
    warnings: list[Remark],
) -> Figure:
    numerator, denominator = counts
    return Figure(
        metric=definition.slug,
        definition_version=definition.version,
        value=rules.ratio(numerator, denominator),
        numerator=numerator,
        denominator=denominator,
        interval=None,
        small_sample=denominator < rules.SMALL_SAMPLE,
        window=window_out(window),
        mode=window.mode,
        as_of=view.as_of,
        data_complete_until=view.data_complete_until,
        excluded=excluded,
        warnings=[*([UNFINISHED] if window.ends_at > view.data_complete_until else []), *warnings],
    )


def interval_out(bounds: Bounds | None) -> Interval | None:
    if bounds is None:
        return None
    return Interval(method=bounds.method, level=bounds.level, low=bounds.low, high=bounds.high)


def window_out(window: Window) -> WindowOut:
    return WindowOut(
        from_=window.first,
        to=window.end,
        time_zone=window.zone.key,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
    )


def _last_quarter(view: View) -> Window:
    return windows.last_finished(view.data_complete_until, period=Period.QUARTER, zone=view.zone)


async def _buyers(session: AsyncSession, *, view: View, window: Window) -> RetentionSets:
    by_standing = await queries.list_retention_sets(session, view=view, window=window)
    return sum(by_standing.values(), start=rules.NO_BUYERS)
