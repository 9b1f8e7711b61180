"""How a member shows who they are: a password that is set, changed, and exchanged for a token."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access import service as access
from loyalty.access.errors import PasswordWrong, SignInRefused
from loyalty.access.passwords import Passwords
from loyalty.access.service import Issued
from loyalty.core.signing import Keyring
from loyalty.members import service as members
from loyalty.members.errors import MemberClosed
from loyalty.members.rules import IdentifierKind, Status
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.programs import service as programs


async def set_password(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, password: str, passwords: Passwords, now: datetime
) -> None:
    """Give a member a password to sign in with, in place of any former one; raises MemberClosed."""
    if (await members.standing(session, program_id=program_id, member_id=member_id)).status is Status.CLOSED:
        raise MemberClosed
    await access.set_member_password(
        session, program_id=program_id, member_id=member_id, password=password, passwords=passwords, now=now
    )
    event = Event("member.password_changed", member_id, occurred_at=now, recorded_at=now, member_id=member_id)
    await outbox.tell(session, program_id=program_id, events=[event])


async def change_password(
    session: AsyncSession,
    *,
    program_id: UUID,
    member_id: UUID,
    current: str | None,
    password: str,
    passwords: Passwords,
    now: datetime,
) -> None:
    """Change one's own password; who has one must know it. Raises PasswordWrong, MemberClosed."""
    stored = await access.member_password(session, program_id=program_id, member_id=member_id)
    if stored is not None and not await access.check_member_password(
        session, stored=stored, password=current or "", passwords=passwords
    ):
        raise PasswordWrong
    await set_password(
        session, program_id=program_id, member_id=member_id, password=password, passwords=passwords, now=now
    )


async def sign_in(
    session: AsyncSession,
    *,
    program: str,
    email: str,
    password: str,
    passwords: Passwords,
    keyring: Keyring,
    real_now: datetime,
) -> Issued:
    """Mint a token for a member who knows their password. Every refusal is the same, and takes the same work."""
    program_id = await programs.find_id(session, slug=program)
    member_id = program_id and await _open_member(session, program_id=program_id, email=email)
    stored = None
    if program_id is not None and member_id is not None:
        stored = await access.member_password(session, program_id=program_id, member_id=member_id)
    fits = await access.check_member_password(session, stored=stored, password=password, passwords=passwords)
    if program_id is None or member_id is None or not fits:
        raise SignInRefused
    return access.mint_member_token(program_id=program_id, member_id=member_id, keyring=keyring, real_now=real_now)


async def _open_member(session: AsyncSession, *, program_id: UUID, email: str) -> UUID | None:
    found = await members.find_by(session, program_id=program_id, kind=IdentifierKind.EMAIL, value=email)
    return next((view.member.id for view in found if view.member.status != Status.CLOSED), None)
