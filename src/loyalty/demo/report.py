"""What the demonstration shows of its program: referrals, and members against non-members, each with its interval."""

from datetime import date

from rich.console import Group, RenderableType
from rich.table import Table

from loyalty.core import clock
from loyalty.core.db import Sessions, transaction
from loyalty.demo.purchases import MADE_UP
from loyalty.metrics import comparison, rules, service, windows
from loyalty.metrics.schemas import AdjustedAssociation, Figure, Interval, RawAssociation, WindowOut
from loyalty.programs.rules import Program

_DATA_FROM, _REFERRALS_TO = date(1997, 1, 1), date(1997, 4, 1)
"""All customers of the data bought first in this quarter, so no later one can hold a referral."""

_COMPARED_TO = date(1998, 4, 1)
"""The last day, in round figures, of which 90 days of outcome are known."""


async def compose(sessions: Sessions, *, program: Program) -> RenderableType:
    """Compute the reports and lay them out."""
    now = program.now(clock.now())
    view = rules.view(program_id=program.id, time_zone=program.rules.time_zone, as_of=None, now=now)
    first_quarter = windows.chosen(first=_DATA_FROM, end=_REFERRALS_TO, period=None, as_of=view.as_of, zone=view.zone)
    whole = windows.chosen(first=_DATA_FROM, end=_COMPARED_TO, period=None, as_of=view.as_of, zone=view.zone)
    async with transaction(sessions) as session:
        referral = await service.referral_rate(session, view=view, hold_days=0, window=first_quarter)
        referred = await service.referred_customer_share(session, view=view, window=first_quarter)
        compared = await comparison.members_versus_non_members(session, view=view, trial_window=whole)
    return Group(
        f"\nReal purchases (CDNOW, 1997-01-01 to 1998-06-30). {MADE_UP}\n",
        _referrals([("Members who referred a customer", referral), ("New customers who were referred", referred)]),
        _raw(compared.association_raw),
        _adjusted(compared.association_adjusted),
    )


def _referrals(figures: list[tuple[str, Figure]]) -> Table:
    table = Table("Referrals", "Rate", "95 % interval", "Of", "Window", title_justify="left")
    for name, figure in figures:
        counted = f"{figure.numerator} of {figure.denominator}"
        table.add_row(name, _percent(figure.value), _interval(figure.interval), counted, _window(figure.window))
    return table


def _raw(raw: RawAssociation) -> Table:
    table = Table(
        f"Retention, {_window(raw.window)}", "Rate", "95 % interval", "Of", caption=f"{raw.label}: {raw.note}"
    )
    for group in raw.groups:
        if group.denominator:
            counted = f"{group.numerator} of {group.denominator}"
            table.add_row(group.standing, _percent(group.value), _interval(group.interval), counted)
    table.add_row("members less non-members", _points(raw.difference), _interval(raw.difference_interval), "")
    return table


def _adjusted(adjusted: AdjustedAssociation) -> Table:
    head = f"Bought again within {adjusted.horizon_days} days, {_window(adjusted.window)}"
    table = Table(head, "Rate", "95 % interval", "Of", caption=f"{adjusted.label}: {adjusted.note}")
    table.add_row("joined at this order", _percent(adjusted.joined_rate), "", f"{adjusted.joins_with_controls} orders")
    table.add_row("did not, with the same history", _percent(adjusted.control_rate), "", f"{adjusted.controls} orders")
    table.add_row("difference", _points(adjusted.value), _interval(adjusted.interval), adjusted.withheld_because or "")
    naive = adjusted.naive
    table.add_row(
        "naive: ever a member or never", _points(naive.value), _interval(naive.interval), "joiners are heavy buyers"
    )
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f} pp"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _window(window: WindowOut) -> str:
    return f"{window.from_} to {window.to}"
