"""The in-memory twin of the account store: same contract, nothing kept. For tests and simulations."""

from dataclasses import replace

from overair.accounts.errors import AlreadyThere
from overair.accounts.model import AccessToken, Account, ApiKey, Credentials, Session, Subscription, User
from overair.accounts.rules import LoginOutcome, after_login, is_reusable


class MemoryAccountStore:
    """Accounts in dictionaries; ids count from 1."""

    def __init__(self) -> None:
        self._accounts: dict[int, Account] = {}
        self._keys: dict[int, ApiKey] = {}
        self._tokens: dict[bytes, AccessToken] = {}
        self._users: dict[int, User] = {}
        self._sessions: dict[int, Session] = {}
        self._session_ids: dict[bytes, int] = {}

    async def add_account(
        self, name: str, licenses: int, subscriptions: tuple[Subscription, ...], now_ms: int
    ) -> Account:
        if await self.account(name):
            raise AlreadyThere("account", name)
        account = Account(len(self._accounts) + 1, name, True, licenses, subscriptions, now_ms)
        self._accounts[account.id] = account
        return account

    async def accounts(self) -> list[Account]:
        return sorted(self._accounts.values(), key=lambda account: account.name)

    async def account(self, name: str) -> Account | None:
        return next((account for account in self._accounts.values() if account.name == name), None)

    async def set_active(self, account_id: int, *, active: bool) -> None:
        self._accounts[account_id] = replace(self._accounts[account_id], active=active)

    async def add_key(self, account_id: int, key: str, secret_digest: bytes, now_ms: int) -> ApiKey:
        added = ApiKey(len(self._keys) + 1, account_id, key, secret_digest, now_ms)
        self._keys[added.id] = added
        return added

    async def keys(self, account_id: int) -> list[ApiKey]:
        return [key for key in self._keys.values() if key.account_id == account_id]

    async def key(self, key: str) -> ApiKey | None:
        return next((known for known in self._keys.values() if known.key == key), None)

    async def revoke_key(self, account_id: int, key: str, now_ms: int) -> bool:
        known = await self.key(key)
        if known is None or known.account_id != account_id:
            return False
        self._keys[known.id] = replace(known, revoked_ms=known.revoked_ms or now_ms)
        return True

    async def reusable_token(self, key_id: int, scope: str, now_ms: int) -> AccessToken | None:
        found = [
            token
            for token in self._tokens.values()
            if (token.key_id, token.scope) == (key_id, scope) and is_reusable(token, now_ms)
        ]
        return max(found, key=lambda token: token.expires_ms, default=None)

    async def add_token(self, token: AccessToken) -> AccessToken:
        found = await self.reusable_token(token.key_id, token.scope, token.issued_ms)
        if found is None:
            self._tokens[token.digest] = token
        return found or token

    async def revoke_token(self, key_id: int, digest: bytes, now_ms: int) -> bool:
        known = self._tokens.get(digest)
        if known is None or known.key_id != key_id:
            return False
        self._tokens[digest] = replace(known, revoked_ms=known.revoked_ms or now_ms)
        return True

    async def add_user(self, account_id: int, name: str, password_hash: str, now_ms: int) -> User:
        if await self.user(name):
            raise AlreadyThere("user", name)
        user = User(len(self._users) + 1, account_id, name, password_hash, 0, now_ms)
        self._users[user.id] = user
        return user

    async def user(self, name: str) -> User | None:
        return next((user for user in self._users.values() if user.name == name), None)

    async def unlock(self, account_id: int, name: str) -> bool:
        user = await self.user(name)
        if user is None or user.account_id != account_id:
            return False
        self._users[user.id] = replace(user, failed_logins=0)
        return True

    async def count_login(self, user_id: int, *, right: bool, limit: int) -> LoginOutcome:
        user = self._users[user_id]
        outcome, failed_logins = after_login(user.failed_logins, right=right, limit=limit)
        self._users[user_id] = replace(user, failed_logins=failed_logins)
        return outcome

    async def change_password(self, user_id: int, old_hash: str, new_hash: str) -> bool:
        user = self._users[user_id]
        if user.password_hash != old_hash:
            return False
        self._users[user_id] = replace(user, password_hash=new_hash)
        return True

    async def add_session(self, user_id: int, digest: bytes, now_ms: int, *, keep: int) -> None:
        session = Session(max(self._sessions, default=0) + 1, user_id, now_ms, now_ms)
        self._sessions[session.id] = session
        self._session_ids[digest] = session.id
        mine = [session for session in self._sessions.values() if session.user_id == user_id]
        mine.sort(key=lambda session: (session.last_used_ms, session.id), reverse=True)
        self._delete_sessions({session.id for session in mine[keep:]})

    def use_session(self, session_id: int, used_ms: int) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            last_used_ms = max(session.last_used_ms, used_ms)
            self._sessions[session_id] = replace(session, last_used_ms=last_used_ms)

    async def end_session(self, session_id: int, now_ms: int) -> bool:
        session = self._sessions.get(session_id)
        if session is None or session.ended_ms is not None:
            return False
        self._sessions[session_id] = replace(session, ended_ms=now_ms)
        return True

    async def credentials(
        self, bearer_digest: bytes, session_digest: bytes | None, account_name: str | None
    ) -> Credentials:
        token = self._tokens.get(bearer_digest)
        if token is not None and self._keys[token.key_id].revoked_ms is not None:
            token = None
        session = self._sessions.get(self._session_ids.get(session_digest or b"", 0))
        user = self._users[session.user_id] if session else None
        account = await self.account(account_name) if account_name is not None else None
        return Credentials(token, session, user, account)

    async def purge(self, before_ms: int) -> int:
        tokens = [digest for digest, token in self._tokens.items() if token.expires_ms < before_ms]
        old = {session.id for session in self._sessions.values() if session.last_used_ms < before_ms}
        for digest in tokens:
            del self._tokens[digest]
        self._delete_sessions(old)
        return len(tokens) + len(old)

    def _delete_sessions(self, ids: set[int]) -> None:
        self._sessions = {id_: session for id_, session in self._sessions.items() if id_ not in ids}
        self._session_ids = {digest: id_ for digest, id_ in self._session_ids.items() if id_ not in ids}
