from uuid import UUID

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.earning import authoring
from loyalty.earning.errors import EarningRuleNotFound
from loyalty.earning.schemas import (
    RuleActivationIn,
    RuleIn,
    RuleList,
    RuleOut,
    RuleRetirementIn,
    RuleVersionIn,
    rule_out,
)


class EarningRuleRoutes(Controller):
    path = "/v1/earning-rules"
    tags = ("Earning",)

    @get("/", operation_id="list_earning_rules", scope=Scope.PROGRAM_READ, responses=problems(403))
    async def listing(self, caller: Caller, session: Session, now: Now) -> RuleList:
        """List the earning rules with all their versions."""
        rules = await authoring.listing(session, program_id=caller.program.id)
        return RuleList([rule_out(rule, now=now) for rule in rules])

    @post("/", operation_id="create_earning_rule", scope=Scope.PROGRAM_WRITE, responses=problems(403, 409))
    async def create(self, data: JSONBody[RuleIn], caller: Caller, session: Session, now: Now) -> RuleOut:
        """Create a rule with its first version."""
        rule = await authoring.create(
            session,
            program_id=caller.program.id,
            name=data.name,
            terms=data.terms.terms(unit=caller.program.rules.unit),
            active_from=data.begins(now),
            active_until=data.active_until,
            actor=caller.actor,
            now=now,
        )
        return rule_out(rule, now=now)

    @post(
        "/{rule_id:str}/versions",
        operation_id="create_earning_rule_version",
        scope=Scope.PROGRAM_WRITE,
        responses=problems(403, 404, 409),
    )
    async def change(
        self, rule_id: FromPath[str], data: JSONBody[RuleVersionIn], caller: Caller, session: Session, now: Now
    ) -> RuleOut:
        """Let a rule say something else from now or later on; orders already counted keep their version."""
        parsed = _rule_id(rule_id)
        rule = await authoring.change(
            session,
            program_id=caller.program.id,
            rule_id=parsed,
            terms=data.terms.terms(unit=caller.program.rules.unit),
            active_from=data.begins(now),
            active_until=data.active_until,
            actor=caller.actor,
            now=now,
        )
        return rule_out(rule, now=now)

    @post(
        "/{rule_id:str}/activation",
        operation_id="create_earning_rule_activation",
        scope=Scope.PROGRAM_WRITE,
        status_code=200,
        responses=problems(403, 404, 409),
    )
    async def activate(
        self, rule_id: FromPath[str], data: JSONBody[RuleActivationIn], caller: Caller, session: Session, now: Now
    ) -> RuleOut:
        """Let a rule's newest draft hold from now or later on."""
        rule = await authoring.activate(
            session,
            program_id=caller.program.id,
            rule_id=_rule_id(rule_id),
            active_from=data.active_from or now,
            active_until=data.active_until,
            actor=caller.actor,
            now=now,
        )
        return rule_out(rule, now=now)

    @post(
        "/{rule_id:str}/retirement",
        operation_id="create_earning_rule_retirement",
        scope=Scope.PROGRAM_WRITE,
        status_code=200,
        responses=problems(403, 404, 409),
    )
    async def retire(
        self, rule_id: FromPath[str], data: JSONBody[RuleRetirementIn], caller: Caller, session: Session, now: Now
    ) -> RuleOut:
        """End a rule now or later; orders already counted keep their version."""
        rule = await authoring.retire(
            session,
            program_id=caller.program.id,
            rule_id=_rule_id(rule_id),
            at=data.at or now,
            actor=caller.actor,
            now=now,
        )
        return rule_out(rule, now=now)


def _rule_id(text: str) -> UUID:
    parsed = ids.parse("rul", text)
    if parsed is None:
        raise EarningRuleNotFound
    return parsed
