"""Accounts, users and API keys in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class Account(Base):
    """Owns users and projects; names are unique within it."""

    __tablename__ = "accounts"

    name: Mapped[str] = mapped_column(unique=True)


class User(Base):
    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    name: Mapped[str]
    role: Mapped[str]
    suspended_at: Mapped[datetime | None]


class ApiKey(Base):
    """`hash` is the SHA-256 of the whole key, which has enough entropy to need no salt."""

    __tablename__ = "api_keys"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    project_id: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


async def find_key(session: AsyncSession, digest: str) -> tuple[ApiKey, User] | None:
    query = select(ApiKey, User).join(User, User.id == ApiKey.user_id).where(ApiKey.hash == digest)
    row = (await session.execute(query)).first()
    return (row[0], row[1]) if row else None


async def find_account(session: AsyncSession, name: str) -> Account | None:
    return await session.scalar(select(Account).where(Account.name == name))


async def find_user(session: AsyncSession, account_id: str, name: str) -> User | None:
    return await session.scalar(select(User).where(User.account_id == account_id, User.name == name))


async def keys_of(session: AsyncSession, user_id: str) -> list[ApiKey]:
    query = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    return list(await session.scalars(query.order_by(ApiKey.id)))


async def touch(session: AsyncSession, key_id: str, when: datetime) -> None:
    await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=when))
