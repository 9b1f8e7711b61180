from uuid import UUID

from litestar import Controller, get, patch, post
from litestar.params import FromPath, JSONBody

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import DryRun, Session
from loyalty.rewards import pooling
from loyalty.rewards import service as rewards
from loyalty.rewards.errors import RewardNotFound
from loyalty.rewards.schemas import (
    CodesIn,
    CodesOut,
    RewardIn,
    RewardOut,
    RewardPage,
    RewardPatch,
    codes_out,
    reward_out,
    reward_page,
)


class RewardRoutes(Controller):
    path = "/v1/rewards"
    tags = ("Rewards",)

    @get("/", operation_id="list_rewards", scope=Scope.REWARDS_READ, responses=problems(403))
    async def listing(
        self, caller: Caller, session: Session, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> RewardPage:
        """List the catalogue, retired rewards included."""
        page = await rewards.page(session, program_id=caller.program.id, offered_only=False, cursor=cursor, limit=limit)
        return reward_page(page)

    @post("/", operation_id="create_reward", scope=Scope.REWARDS_WRITE, responses=problems(403))
    async def create(self, data: JSONBody[RewardIn], caller: Caller, session: Session, now: Now) -> RewardOut:
        """Put a reward into the catalogue."""
        reward = await rewards.create(
            session,
            program_id=caller.program.id,
            name=data.name,
            kind=data.kind,
            value=data.value.model_dump(exclude_none=True),
            unit=data.unit or caller.program.rules.unit,
            cost_points=data.cost_points,
            stock=data.stock,
            coupon_days=data.coupon_days,
            metadata=data.metadata,
            terms=data.terms(),
            now=now,
        )
        return reward_out(reward)

    @get("/{reward_id:str}", operation_id="get_reward", scope=Scope.REWARDS_READ, responses=problems(403, 404))
    async def read(self, reward_id: FromPath[str], caller: Caller, session: Session) -> RewardOut:
        """Read a reward."""
        parsed = _reward_id(reward_id)
        return reward_out(await rewards.get(session, program_id=caller.program.id, reward_id=parsed))

    @patch(
        "/{reward_id:str}", operation_id="update_reward", scope=Scope.REWARDS_WRITE, responses=problems(403, 404, 409)
    )
    async def update(
        self, reward_id: FromPath[str], data: JSONBody[RewardPatch], caller: Caller, session: Session, now: Now
    ) -> RewardOut:
        """Change a reward for redemptions to come, or retire it."""
        changed = await rewards.update(
            session,
            program_id=caller.program.id,
            reward_id=_reward_id(reward_id),
            changes=data.changes,
            retire=data.retired,
            now=now,
        )
        return reward_out(changed)

    @post(
        "/{reward_id:str}/coupon-codes",
        operation_id="create_reward_coupon_codes",
        scope=Scope.REWARDS_WRITE,
        status_code=200,
        responses=problems(403, 404, 503),
    )
    async def add_codes(
        self,
        reward_id: FromPath[str],
        data: JSONBody[CodesIn],
        caller: Caller,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> CodesOut:
        """Give a reward codes of your own: from then on it issues these alone, and they are its stock.

        It needs no Idempotency-Key: a code is added once. One that was issued does not come back when that is undone.
        """
        rows = pooling.read(data.csv)
        outcomes = await pooling.add(
            session, program_id=caller.program.id, reward_id=_reward_id(reward_id), rows=rows, now=now
        )
        if dry_run:
            await session.rollback()
        return codes_out(outcomes)


def _reward_id(text: str) -> UUID:
    reward_id = ids.parse("rew", text)
    if reward_id is None:
        raise RewardNotFound
    return reward_id
