from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from loyalty.core.fields import Body, CrossChecked, FieldFault, Instant, public_id

_MOST_RULES = 200


class TriedRuleIn(Body):
    """A version to put in place of its rule; the newest draft, unless one is named."""

    rule_id: public_id("rul")  # type: ignore[valid-type]
    version: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] | None = None


class SimulationIn(CrossChecked):
    """The orders to look at, by when they were placed, and the rules to try on them.

    What is in force now is tried with every newest draft in place of its rule, and without the rules named in
    `without`. With `rules`, which may be empty, only the rules named there change.
    """

    from_: Annotated[Instant, Field(alias="from")]
    until: Instant
    rules: Annotated[list[TriedRuleIn], Field(max_length=_MOST_RULES)] | None = None
    without: Annotated[list[public_id("rul")], Field(max_length=_MOST_RULES)] = Field(default_factory=list)  # type: ignore[valid-type]

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        named, given = set(), raw.get("rules")
        left_out = raw.get("without") if isinstance(raw.get("without"), list) else []
        for index, rule in enumerate(given if isinstance(given, list) else []):
            rule_id = rule.get("rule_id") if isinstance(rule, Mapping) else None
            if isinstance(rule_id, str) and (rule_id in named or rule_id in (left_out or [])):
                yield ("rules", index, "rule_id"), "named_twice", "A rule is tried once, or left out"
            if isinstance(rule_id, str):
                named.add(rule_id)

    @property
    def wanted(self) -> dict[UUID, int | None] | None:
        return None if self.rules is None else {own.rule_id: own.version for own in self.rules}
