from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.earning import service as earning
from loyalty.earning.errors import EarningRuleNotFound
from loyalty.earning.schemas import RuleIn, RuleList, RuleOut, RuleVersionIn, rule_out


class EarningRuleRoutes(Controller):
    path = "/v1/earning-rules"
    tags = ("Earning",)

    @get("/", operation_id="list_earning_rules", scope=Scope.PROGRAM_READ, responses=problems(403))
    async def listing(self, caller: Caller, session: Session) -> RuleList:
        """List the earning rules with all their versions."""
        rules = await earning.listing(session, program_id=caller.program.id)
        return RuleList([rule_out(rule, versions) for rule, versions in rules])

    @post("/", operation_id="create_earning_rule", scope=Scope.PROGRAM_WRITE, responses=problems(403, 409))
    async def create(self, data: JSONBody[RuleIn], caller: Caller, session: Session, now: Now) -> RuleOut:
        """Create a rule with its first version."""
        rule, version = await earning.create(
            session,
            program_id=caller.program.id,
            name=data.name,
            terms=data.terms.terms(unit=caller.program.rules.unit),
            active_from=data.active_from or now,
            active_until=data.active_until,
            actor=caller.actor,
            now=now,
        )
        return rule_out(rule, [version])

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
        parsed = ids.parse("rul", rule_id)
        if parsed is None:
            raise EarningRuleNotFound
        rule, version = await earning.change(
            session,
            program_id=caller.program.id,
            rule_id=parsed,
            terms=data.terms.terms(unit=caller.program.rules.unit),
            active_from=data.active_from or now,
            active_until=data.active_until,
            actor=caller.actor,
            now=now,
        )
        return rule_out(rule, [version])
