"""Who is asking: API keys, and the first admin."""

from __future__ import annotations

import hashlib
import secrets
import time
from datetime import UTC, datetime

from gateway.accounts import store
from gateway.accounts.store import Account, ApiKey, User
from gateway.db.database import Database, unbroken
from gateway.errors import NotFound, Unauthenticated
from gateway.policy import Caller, Scope

ACCOUNT, ADMIN, FIRST_KEY = "default", "admin", "first admin key"
KNOWN_SECONDS = 2.0
"""How long a key that was looked up is believed: a busy client need not cost a query per request. A key that
is revoked here is forgotten at once."""
TOUCH_SECONDS = 60.0
"""The last use of a key is written at most this often: else every reader were a writer."""


def new_key() -> str:
    """`ly_<id>_<secret>`: 192 random bits behind a public id."""
    return f"ly_{secrets.token_hex(6)}_{secrets.token_hex(24)}"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def prefix(key: str) -> str:
    """What is shown of a key: `ly_<id>`."""
    return "_".join(key.split("_")[:2])[:20]


class Accounts:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._touched: dict[str, float] = {}
        self._known: dict[str, tuple[float, Caller]] = {}

    async def authenticate(self, key: str) -> Caller:
        """Raises Unauthenticated for a key that is unknown, revoked, expired or of a suspended user."""
        hashed, now = digest(key), time.monotonic()
        known = self._known.get(hashed)
        if known and now - known[0] < KNOWN_SECONDS:
            return known[1]
        caller = await self._look_up(hashed)
        self._known[hashed] = (now, caller)
        return caller

    @unbroken
    async def _look_up(self, hashed: str) -> Caller:
        async with self._database.read() as session:
            found = await store.find_key(session, hashed)
        if found is None or not _usable(*found):
            self._known.pop(hashed, None)
            raise Unauthenticated("This API key is not valid. Send it as `Authorization: Bearer ly_...`.")
        await self._touch(found[0].id)
        return _caller(*found)

    async def _touch(self, key_id: str) -> None:
        now = time.monotonic()
        if now - self._touched.get(key_id, float("-inf")) < TOUCH_SECONDS:
            return
        self._touched[key_id] = now
        async with self._database.write() as session:
            await store.touch(session, key_id, datetime.now(UTC))

    @unbroken
    async def ensure_admin(self, key: str) -> str:
        """The first account and its admin, reachable by this key alone of the keys given so. Account id."""
        async with self._database.write() as session:
            account = await store.find_account(session, ACCOUNT)
            if account is None:
                session.add(account := Account(name=ACCOUNT))
                await session.flush()
            user = await store.find_user(session, account.id, ADMIN)
            if user is None:
                session.add(user := User(account_id=account.id, name=ADMIN, role="admin"))
                await session.flush()
            known = [k for k in await store.keys_of(session, user.id) if k.name == FIRST_KEY]
            for old in known:
                if old.hash != digest(key):
                    old.revoked_at = datetime.now(UTC)
            if digest(key) not in {k.hash for k in known}:
                session.add(_row(user.id, FIRST_KEY, key, [Scope.ADMIN], None, None))
            return account.id

    @unbroken
    async def create_key(
        self,
        caller: Caller,
        name: str,
        scopes: list[Scope],
        project_id: str | None,
        expires_at: datetime | None,
    ) -> tuple[ApiKey, str]:
        """The stored row and the key itself, which is not kept."""
        key = new_key()
        async with self._database.write() as session:
            session.add(row := _row(caller.user_id, name, key, scopes, project_id, expires_at))
        return row, key

    @unbroken
    async def keys(self, caller: Caller) -> list[ApiKey]:
        async with self._database.read() as session:
            return await store.keys_of(session, caller.user_id)

    @unbroken
    async def revoke_key(self, caller: Caller, key_id: str) -> None:
        async with self._database.write() as session:
            row = await session.get(ApiKey, key_id)
            if row is None or row.user_id != caller.user_id:
                raise NotFound(f"No API key {key_id!r}.")
            row.revoked_at = datetime.now(UTC)
        self._known.clear()


def _usable(key: ApiKey, user: User) -> bool:
    expired = key.expires_at is not None and key.expires_at <= datetime.now(UTC)
    return key.revoked_at is None and not expired and user.suspended_at is None


def _caller(key: ApiKey, user: User) -> Caller:
    scopes = frozenset(Scope(scope) for scope in key.scopes)
    return Caller(user.id, user.account_id, user.name, user.role, key.id, scopes, key.project_id)


def _row(
    user_id: str, name: str, key: str, scopes: list[Scope], project_id: str | None, expires: datetime | None
) -> ApiKey:
    return ApiKey(
        user_id=user_id,
        name=name,
        prefix=prefix(key),
        hash=digest(key),
        scopes=[scope.value for scope in scopes],
        project_id=project_id,
        expires_at=expires,
    )
