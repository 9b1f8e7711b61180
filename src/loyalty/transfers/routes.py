from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from loyalty.access.guards import Call, Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.problems import problems
from loyalty.core.web import DryRun, Session, conclude
from loyalty.transfers import service as transfers
from loyalty.transfers.errors import TransferNotFound
from loyalty.transfers.schemas import TransferIn, TransferOut, transfer_out


class TransferRoutes(Controller):
    path = "/v1/transfers"
    tags = ("Transfers",)

    @post("/", operation_id="create_transfer", scope=Scope.POINTS_WRITE, responses=problems(403, 404, 409, 422, 503))
    async def transfer(
        self,
        data: JSONBody[TransferIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[TransferOut]:
        """Give a member's points to another member."""
        done = await transfers.transfer(
            session,
            program=caller.program,
            call=call,
            giver=data.from_member_id,
            receiver=data.to_member_id,
            unit=data.unit or caller.program.rules.unit,
            amount=data.points,
            reason=data.reason,
            actor=caller.actor,
            metadata=data.metadata,
            now=now,
        )
        view = await transfers.get(session, program_id=caller.program.id, transfer_id=done.resource_id)
        return await conclude(session, transfer_out(view), done, dry_run=dry_run)

    @get("/{transfer_id:str}", operation_id="get_transfer", scope=Scope.POINTS_READ, responses=problems(403, 404))
    async def read(self, transfer_id: FromPath[str], caller: Caller, session: Session) -> TransferOut:
        """Read a transfer."""
        parsed = ids.parse("trf", transfer_id)
        if parsed is None:
            raise TransferNotFound
        return transfer_out(await transfers.get(session, program_id=caller.program.id, transfer_id=parsed))
