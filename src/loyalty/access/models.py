from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, ForeignKeyConstraint, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class ApiKey(Row):
    """A program's key. Only the SHA-256 of the secret is kept: at 160 random bits a slow hash would add nothing."""

    __tablename__ = "api_keys"
    __table_args__ = (CheckConstraint("kind IN ('secret', 'publishable', 'restricted')", name="kind_known"),)

    program_id: Mapped[UUID] = mapped_column(ForeignKey("programs.id"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    id: Mapped[UUID]
    kind: Mapped[str]
    name: Mapped[str]
    hint: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class Manager(Row):
    """A person who runs programs; one account for all of them."""

    __tablename__ = "managers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    created_at: Mapped[datetime]


class ManagerRole(Row):
    __tablename__ = "manager_roles"
    __table_args__ = (CheckConstraint("role IN ('owner', 'manager', 'analyst', 'support')", name="role_known"),)

    program_id: Mapped[UUID] = mapped_column(ForeignKey("programs.id"), primary_key=True)
    manager_id: Mapped[UUID] = mapped_column(ForeignKey("managers.id"), primary_key=True)
    role: Mapped[str]


class ManagerSession(Row):
    """A signed-in manager in one program; the token's SHA-256 is the key."""

    __tablename__ = "manager_sessions"

    program_id: Mapped[UUID] = mapped_column(ForeignKey("programs.id"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    manager_id: Mapped[UUID] = mapped_column(ForeignKey("managers.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class MemberPassword(Row):
    """A member's password for signing in without the storefront, as argon2id."""

    __tablename__ = "member_passwords"
    __table_args__ = (ForeignKeyConstraint(["program_id", "member_id"], ["members.program_id", "members.id"]),)

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID] = mapped_column(primary_key=True)
    password_hash: Mapped[str]
    set_at: Mapped[datetime]
