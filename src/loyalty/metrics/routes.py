from datetime import date, datetime
from typing import Annotated, Final

from litestar import Controller, get
from litestar.params import QueryParameter

from loyalty.access.guards import Caller, Report
from loyalty.access.rules import Caller as CallerFacts
from loyalty.access.rules import Scope
from loyalty.core.errors import Fault, ValidationFailed
from loyalty.core.fields import read_instant
from loyalty.core.problems import problems
from loyalty.metrics import adjusted, comparison, rules, service, windows
from loyalty.metrics.rules import View
from loyalty.metrics.schemas import (
    ChurnRate,
    CrrTextbook,
    MembersVersusNonMembers,
    ReferralRate,
    ReferredCustomerShare,
    RepeatPurchaseRate,
    RetentionRate,
)
from loyalty.metrics.windows import Period

From = Annotated[date | None, QueryParameter(name="from", description="First local day of the window; with `to`.")]
To = Annotated[date | None, QueryParameter(name="to", description="The local day before which the window ends.")]
PeriodParameter = Annotated[
    Period | None, QueryParameter(description="The last finished one, instead of `from` and `to`.")
]
AsOf = Annotated[
    str | None,
    QueryParameter(max_length=40, description="State what was known at this instant (RFC 3339); now unless given."),
]
TrialsFrom = Annotated[
    date | None, QueryParameter(description="First local day of the orders compared; with `trials_to`.")
]
TrialsTo = Annotated[date | None, QueryParameter(description="The local day before which the orders compared end.")]
Horizon = Annotated[
    int, QueryParameter(ge=1, le=rules.LONGEST_HORIZON_DAYS, description="Days within which a return counts.")
]
Hold = Annotated[
    int,
    QueryParameter(
        ge=0, le=rules.LONGEST_HORIZON_DAYS, description="Days until a qualified referral is past its hold."
    ),
]

_REFUSALS: Final = problems(403, 503)


class MetricRoutes(Controller):
    path = "/v1/metrics"
    tags = ("Metrics",)

    @get("/retention-rate", operation_id="get_retention_rate", scope=Scope.METRICS_READ, responses=_REFUSALS)
    async def retention(
        self,
        caller: Caller,
        report: Report,
        first: From = None,
        end: To = None,
        period: PeriodParameter = None,
        as_of: AsOf = None,
    ) -> RetentionRate:
        """Of the customers who bought in the previous window, the share who bought in this one; the last quarter."""
        view = _view(caller, as_of=as_of, now=report.now)
        window = windows.chosen(first=first, end=end, period=period, as_of=view.as_of, zone=view.zone)
        return await service.retention_rate(report.session, view=view, window=window)

    @get("/churn-rate", operation_id="get_churn_rate", scope=Scope.METRICS_READ, responses=_REFUSALS)
    async def churn(
        self,
        caller: Caller,
        report: Report,
        first: From = None,
        end: To = None,
        period: PeriodParameter = None,
        as_of: AsOf = None,
    ) -> ChurnRate:
        """Of the customers who bought in the previous window, the share who did not in this one; the last quarter."""
        view = _view(caller, as_of=as_of, now=report.now)
        window = windows.chosen(first=first, end=end, period=period, as_of=view.as_of, zone=view.zone)
        return await service.churn_rate(report.session, view=view, window=window)

    @get("/crr-textbook", operation_id="get_crr_textbook", scope=Scope.METRICS_READ, responses=_REFUSALS)
    async def textbook(
        self,
        caller: Caller,
        report: Report,
        first: From = None,
        end: To = None,
        period: PeriodParameter = None,
        as_of: AsOf = None,
    ) -> CrrTextbook:
        """Divide customers at the end by customers at the start, as textbooks do; the last quarter."""
        view = _view(caller, as_of=as_of, now=report.now)
        window = windows.chosen(first=first, end=end, period=period, as_of=view.as_of, zone=view.zone)
        return await service.crr_textbook(report.session, view=view, window=window)

    @get(
        "/repeat-purchase-rate", operation_id="get_repeat_purchase_rate", scope=Scope.METRICS_READ, responses=_REFUSALS
    )
    async def repeat(
        self,
        caller: Caller,
        report: Report,
        first: From = None,
        end: To = None,
        period: PeriodParameter = None,
        as_of: AsOf = None,
        horizon_days: Horizon = rules.REPEAT_HORIZON_DAYS,
    ) -> RepeatPurchaseRate:
        """Of the first-time buyers of the window, the share who bought again in time; the latest 90 mature days."""
        view = _view(caller, as_of=as_of, now=report.now)
        window = windows.chosen(first=first, end=end, period=period, as_of=view.as_of, zone=view.zone)
        return await service.repeat_purchase_rate(report.session, view=view, window=window, horizon_days=horizon_days)

    @get("/referral-rate", operation_id="get_referral_rate", scope=Scope.METRICS_READ, responses=_REFUSALS)
    async def referral(
        self,
        caller: Caller,
        report: Report,
        first: From = None,
        end: To = None,
        period: PeriodParameter = None,
        as_of: AsOf = None,
        hold_days: Hold = 0,
    ) -> ReferralRate:
        """Of the members, the share who referred a customer that was approved; 90 days until the hold."""
        view = _view(caller, as_of=as_of, now=report.now)
        window = windows.chosen(first=first, end=end, period=period, as_of=view.as_of, zone=view.zone)
        return await service.referral_rate(report.session, view=view, hold_days=hold_days, window=window)

    @get(
        "/referred-customer-share",
        operation_id="get_referred_customer_share",
        scope=Scope.METRICS_READ,
        responses=_REFUSALS,
    )
    async def referred(
        self,
        caller: Caller,
        report: Report,
        first: From = None,
        end: To = None,
        period: PeriodParameter = None,
        as_of: AsOf = None,
    ) -> ReferredCustomerShare:
        """Of the new customers of the window, the share who were referred; the last quarter."""
        view = _view(caller, as_of=as_of, now=report.now)
        window = windows.chosen(first=first, end=end, period=period, as_of=view.as_of, zone=view.zone)
        return await service.referred_customer_share(report.session, view=view, window=window)

    @get(
        "/members-versus-non-members",
        operation_id="get_members_versus_non_members",
        scope=Scope.METRICS_READ,
        responses=_REFUSALS,
    )
    async def members_versus_non_members(
        self,
        caller: Caller,
        report: Report,
        first: From = None,
        end: To = None,
        period: PeriodParameter = None,
        as_of: AsOf = None,
        trials_from: TrialsFrom = None,
        trials_to: TrialsTo = None,
        horizon_days: Horizon = adjusted.HORIZON_DAYS,
    ) -> MembersVersusNonMembers:
        """Compare members with non-members: raw, then like with like. An association either way."""
        view = _view(caller, as_of=as_of, now=report.now)
        window = windows.chosen(first=first, end=end, period=period, as_of=view.as_of, zone=view.zone)
        trial_window = windows.chosen(first=trials_from, end=trials_to, period=None, as_of=view.as_of, zone=view.zone)
        return await comparison.members_versus_non_members(
            report.session, view=view, window=window, trial_window=trial_window, horizon_days=horizon_days
        )


def _view(caller: CallerFacts, *, as_of: str | None, now: datetime) -> View:
    program = caller.program
    known_at = None if as_of is None else read_instant(as_of)
    if as_of is not None and known_at is None:
        raise ValidationFailed(errors=[Fault("query:as_of", "time_type", "Input should be an RFC 3339 date and time")])
    return rules.view(
        program_id=program.id,
        time_zone=program.rules.time_zone,
        as_of=known_at,
        now=now,
        late_days=program.rules.late_order_days,
    )
