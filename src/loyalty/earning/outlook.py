"""What a rule says from an instant on; what it said before is history, and nobody's wish can change it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from loyalty.earning.rules import RuleVersion
from loyalty.earning.terms import Terms


@dataclass(frozen=True)
class Step:
    """A version's terms while they hold; `active_until` null: for good, or until the next step takes over."""

    terms: Terms
    active_from: datetime
    active_until: datetime | None = None


@dataclass(frozen=True)
class Outlook:
    """The version in force and those that take over later, in order of time, and the drafts, oldest first."""

    steps: tuple[Step, ...] = ()
    drafts: tuple[Terms, ...] = ()

    @property
    def is_over(self) -> bool:
        return not (self.steps or self.drafts)

    def current(self, *, now: datetime) -> Step | None:
        return self.steps[0] if self.steps and self.steps[0].active_from <= now else None

    def settled(self, there: "Outlook", *, now: datetime) -> "Outlook":
        """Return this wish as a rule that says something else can meet it.

        What is in force already keeps its beginning, anything else begins now or later. Drafts that are there stay,
        but for the newest, if just that is to begin.
        """
        steps, begun = self.steps, there.current(now=now)
        if (own := self.current(now=now)) is not None:
            goes_on = begun is not None and (own.terms, own.active_until) == (begun.terms, begun.active_until)
            steps = (begun if begun and goes_on else replace(own, active_from=now), *steps[1:])
        kept = there.drafts
        if (
            kept
            and kept[-1] not in self.drafts
            and any(kept[-1] == own.terms for own in steps if own not in there.steps)
        ):
            kept = kept[:-1]
        return Outlook(steps, (*kept, *(draft for draft in self.drafts if draft not in kept)))


def outlook(versions: Sequence[RuleVersion], drafts: Sequence[Terms], *, now: datetime) -> Outlook:
    """Return what a rule's versions say from now on; what is over by then, or taken over, is left out."""
    ordered = sorted(versions, key=lambda version: version.active_from)
    steps = [
        _step(version, follower)
        for version, follower in zip(ordered, [*ordered[1:], None], strict=False)
        if not version.ends and ((until := _until(version, follower)) is None or until > now)
    ]
    return Outlook(tuple(steps), tuple(drafts))


def _step(version: RuleVersion, follower: RuleVersion | None) -> Step:
    until = _until(version, follower)
    is_taken_over = follower is not None and not follower.ends and until == follower.active_from
    return Step(version.terms, version.active_from, None if is_taken_over else until)


def _until(version: RuleVersion, follower: RuleVersion | None) -> datetime | None:
    ends = [at for at in (version.active_until, follower.active_from if follower else None) if at is not None]
    return min(ends, default=None)
