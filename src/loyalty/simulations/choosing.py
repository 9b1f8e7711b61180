"""Which version of each rule is tried: a draft in place of what is in force, unless the caller chooses otherwise."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.earning.authoring import Rule
from loyalty.earning.errors import EarningRuleHasNoDraft, EarningRuleNotFound
from loyalty.earning.models import EarningRuleVersion
from loyalty.earning.terms import RuleKind
from loyalty.simulations.errors import EarningRuleCountsActivities, EarningRuleVersionNotFound


@dataclass(frozen=True)
class Chosen:
    """A version to be tried, and whether it is the one in force."""

    version: EarningRuleVersion
    is_in_force: bool


def choose(
    known: Sequence[Rule], *, wanted: Mapping[UUID, int | None] | None, without: Collection[UUID], now: datetime
) -> list[Chosen]:
    """Return the rule set to try: what is in force, with every newest draft in place of its rule.

    With `wanted`, only the rules it names change: to a version, or to their newest draft where none is named. Raises
    EarningRuleNotFound, EarningRuleVersionNotFound, EarningRuleHasNoDraft, EarningRuleCountsActivities.
    """
    if not {*(wanted or ()), *without} <= {own.rule.id for own in known}:
        raise EarningRuleNotFound
    chosen = []
    for own in known:
        if own.rule.id in without:
            continue
        current = own.in_force(at=now)
        if wanted is None:
            version = own.newest_draft or current
        elif own.rule.id in wanted:
            version = _wanted(own, version=wanted[own.rule.id])
        else:
            version = current
        if version is not None and version.kind != RuleKind.POINTS_PER_ACTIVITY:
            chosen.append(Chosen(version, is_in_force=version is current))
    return chosen


def _wanted(rule: Rule, *, version: int | None) -> EarningRuleVersion:
    if version is None:
        found = rule.newest_draft
        if found is None:
            raise EarningRuleHasNoDraft
    else:
        found = next((row for row in rule.versions if row.version == version and not row.ends), None)
        if found is None:
            raise EarningRuleVersionNotFound
    if found.kind == RuleKind.POINTS_PER_ACTIVITY:
        raise EarningRuleCountsActivities
    return found
