"""What the doors and the command line do with accounts, keys, users, tokens and sessions."""

import secrets
import uuid
from collections.abc import Iterable

from overair.accounts import rules
from overair.accounts.errors import (
    ExpiredSession,
    InactiveAccount,
    InvalidBearer,
    InvalidClient,
    LoginFailed,
    LoginLocked,
    MissingBearer,
    MissingSession,
    NotEntitled,
    NotThere,
    UnknownAccount,
    UnknownSession,
    WrongPassword,
)
from overair.accounts.model import (
    Access,
    AccessToken,
    Account,
    ApiKey,
    Credentials,
    IssuedToken,
    NewKey,
    NewSession,
    SignedIn,
    User,
)
from overair.accounts.passwords import Passwords
from overair.accounts.rules import LoginOutcome, SessionEvent
from overair.accounts.store import AccountStore
from overair.accounts.uses import SessionUses
from overair.platform.clock import DAY_MS, Clock
from overair.platform.limits import Limits
from overair.platform.secrets import digest, random_text, same

KEY_CHARACTERS = 28
SECRET_CHARACTERS = 40  # 238 bits
NEW_PASSWORD_CHARACTERS = 16  # 95 bits
NONCE_BYTES = 16


class AccountService:
    """The use cases. Every answer rests on what the store says now; only last uses are remembered."""

    def __init__(
        self, store: AccountStore, clock: Clock, limits: Limits, *, passwords: Passwords | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._passwords = passwords or Passwords()
        self._uses = SessionUses()

    # Operators.

    async def add_account(self, name: str, licenses: int, subscriptions: Iterable[str]) -> Account:
        """Add an active account; *subscriptions* of ``mrc`` and ``event``."""
        return await self._store.add_account(
            rules.checked_account_name(name),
            rules.checked_licenses(licenses),
            rules.checked_subscriptions(subscriptions),
            self._clock.now_ms(),
        )

    async def list_accounts(self) -> list[Account]:
        """Return all accounts, by name."""
        return await self._store.accounts()

    async def account(self, name: str) -> Account:
        """Return an account, active or not; :class:`NotThere` if there is none of that name."""
        account = await self._store.account(rules.checked_account_name(name))
        if account is None:
            raise NotThere("account", name)
        return account

    async def set_active(self, account_name: str, *, active: bool) -> None:
        """Switch an account on or off: while it is off, calls on it are refused."""
        await self._store.set_active((await self.account(account_name)).id, active=active)

    async def add_key(self, account_name: str) -> NewKey:
        """Add an API key. Its secret is shown this once; only its digest is kept."""
        account = await self.account(account_name)
        made = NewKey(random_text(KEY_CHARACTERS), random_text(SECRET_CHARACTERS))
        await self._store.add_key(account.id, made.key, digest(made.secret), self._clock.now_ms())
        return made

    async def list_keys(self, account_name: str) -> list[ApiKey]:
        """Return the keys of an account, revoked ones included, oldest first."""
        return await self._store.keys((await self.account(account_name)).id)

    async def revoke_key(self, account_name: str, key: str) -> None:
        """Revoke a key: its tokens are refused from now on."""
        account = await self.account(account_name)
        if not await self._store.revoke_key(account.id, key, self._clock.now_ms()):
            raise NotThere("key", key)

    async def add_user(self, account_name: str, name: str, password: str) -> User:
        """Add a user of an account; user names are one set for all accounts."""
        account = await self.account(account_name)
        hashed = await self._passwords.hash(rules.checked_password(password))
        return await self._store.add_user(
            account.id, rules.checked_user_name(name), hashed, self._clock.now_ms()
        )

    async def unlock_user(self, account_name: str, name: str) -> None:
        """Let a user log in again after too many failures."""
        if not await self._store.unlock((await self.account(account_name)).id, name):
            raise NotThere("user", name)

    async def purge(self) -> int:
        """Delete tokens and sessions that have been over for long; return how many. Call it now and then."""
        now_ms = self._clock.now_ms()
        self._uses.forget(now_ms - self._limits.session_idle_seconds * 1000)
        return await self._store.purge(now_ms - self._limits.session_kept_days * DAY_MS)

    # API clients (spec auth.md, sections 1 and 2).

    async def issue_token(self, key: str, secret: str, scope: str) -> IssuedToken:
        """Return the key's access token: the same one until its hour is over or it is revoked.

        Raises :class:`InvalidClient` or :class:`UnknownScope`.
        """
        known = await self._client(key, secret)
        granted = rules.granted_scope(scope)
        now_ms = self._clock.now_ms()
        token = await self._store.reusable_token(known.id, granted, now_ms)
        if token is None:
            token = await self._store.add_token(self._new_token(known, secret, granted, now_ms))
        return IssuedToken(_derived(token, secret), token.scope, rules.seconds_left(token, now_ms))

    async def revoke_token(self, key: str, secret: str, token: str) -> bool:
        """Revoke one of the key's own tokens; False if it has no such token."""
        known = await self._client(key, secret)
        return await self._store.revoke_token(known.id, digest(token), self._clock.now_ms())

    async def _client(self, key: str, secret: str) -> ApiKey:
        known = await self._store.key(key)
        # An unknown key costs the same comparison as a wrong secret.
        right = same(digest(secret), known.secret_digest if known else bytes(32))
        if known is None or not right or known.revoked_ms is not None:
            raise InvalidClient("API key or secret is wrong")
        return known

    def _new_token(self, key: ApiKey, secret: str, scope: str, now_ms: int) -> AccessToken:
        nonce = secrets.token_bytes(NONCE_BYTES)
        token = rules.derived_token(secret, key_id=key.id, issued_ms=now_ms, nonce=nonce, scope=scope)
        expires_ms = now_ms + self._limits.access_token_seconds * 1000
        return AccessToken(key.id, scope, nonce, digest(token), now_ms, expires_ms)

    # Users (spec auth.md, section 3).

    async def log_in(self, user_name: str, password: str) -> NewSession:
        """Begin a session. Raises :class:`LoginFailed` or :class:`LoginLocked`.

        An unknown user costs as much time as a wrong password.
        """
        user = await self._store.user(user_name)
        if user is None:
            await self._passwords.matches(password, None)
            raise LoginFailed("user name or password is wrong")
        if not await self._try_password(user, password):
            raise LoginFailed("user name or password is wrong")
        token = str(uuid.uuid4())
        await self._store.add_session(
            user.id, digest(token), self._clock.now_ms(), keep=self._limits.sessions_per_user
        )
        return NewSession(token)

    async def log_out(self, signed_in: SignedIn) -> None:
        """End the session of a call; :class:`ExpiredSession` if another call was faster."""
        if not await self._store.end_session(signed_in.session.id, self._clock.now_ms()):
            raise ExpiredSession("session: has ended already")

    async def reset_password(self, signed_in: SignedIn, old_password: str) -> str:
        """Return the user's new password, in force at once; sessions stay as they are.

        A wrong *old_password* (:class:`WrongPassword`) counts as a failed login, or a stolen session
        would be a place to guess passwords at leisure; so :class:`LoginLocked` is possible too.
        """
        user = signed_in.user
        if not await self._try_password(user, old_password):
            raise WrongPassword("the current password is wrong")
        password = random_text(NEW_PASSWORD_CHARACTERS)
        hashed = await self._passwords.hash(password)
        if not await self._store.change_password(user.id, user.password_hash, hashed):
            raise WrongPassword("the password was changed meanwhile")
        return password

    async def _try_password(self, user: User, password: str) -> bool:
        """Check a password and count the attempt.

        What comes of it is decided where it is counted, one attempt after the other: of a hundred guesses
        sent at the same time, the sixth and later ones are refused even if they are right.
        """
        limit = self._limits.failed_logins
        outcome, _ = rules.after_login(user.failed_logins, right=False, limit=limit)
        if outcome is not LoginOutcome.LOCKED:  # else hashing would be a waste
            right = await self._passwords.matches(password, user.password_hash)
            outcome = await self._store.count_login(user.id, right=right, limit=limit)
        if outcome is LoginOutcome.LOCKED:
            raise LoginLocked("too many failed logins: an administrator has to unlock the user")
        return outcome is LoginOutcome.RIGHT

    # Calls (spec auth.md, section 4): each checks what the one before it checks, and then more.

    async def check_bearer(self, bearer: str | None) -> None:
        """Check an access token. Raises :class:`MissingBearer` or :class:`InvalidBearer`."""
        self._admit_bearer(await self._find(bearer, None, None))

    async def check_session(self, bearer: str | None, session_token: str | None) -> SignedIn:
        """Check both tokens; the session's clock starts again.

        Raises besides :class:`MissingSession`, :class:`UnknownSession` or :class:`ExpiredSession`.
        """
        return self._admit_session(session_token, await self._find(bearer, session_token, None))

    async def authorize(self, bearer: str | None, session_token: str | None, account_name: str) -> Access:
        """Check both tokens and the user's right on an account, with one read of the database.

        Raises besides :class:`AccountNameFormat`, :class:`UnknownAccount`, :class:`NotEntitled` or
        :class:`InactiveAccount`.
        """
        found = await self._find(bearer, session_token, account_name)
        user = self._admit_session(session_token, found).user
        account = found.account
        rules.checked_account_name(account_name)
        if account is None:
            raise UnknownAccount("the account does not exist")
        if account.id != user.account_id:
            raise NotEntitled("the user has no rights on the account")
        if not account.active:
            raise InactiveAccount("the account is not active")
        return Access(account, user)

    async def _find(
        self, bearer: str | None, session_token: str | None, account_name: str | None
    ) -> Credentials:
        if bearer is None:
            raise MissingBearer("no access token")
        session_digest = None
        if session_token is not None and rules.SESSION_TOKEN.fullmatch(session_token):
            session_digest = digest(session_token.lower())
        if account_name is not None and not rules.ACCOUNT_NAME.fullmatch(account_name):
            account_name = None
        return await self._store.credentials(digest(bearer), session_digest, account_name)

    def _admit_bearer(self, found: Credentials) -> None:
        if found.token is None or not rules.is_alive(found.token, self._clock.now_ms()):
            raise InvalidBearer("the access token is wrong, expired or revoked")

    def _admit_session(self, session_token: str | None, found: Credentials) -> SignedIn:
        self._admit_bearer(found)
        if session_token is None:
            raise MissingSession("no session token")
        if found.session is None or found.user is None:
            raise UnknownSession("the session token is malformed or was never issued")
        session, now_ms = found.session, self._clock.now_ms()
        used_ms = self._uses.last_used_ms(session)
        state = rules.session_state(session, used_ms, now_ms, self._limits.session_idle_seconds)
        rules.next_state(state, SessionEvent.CALL)
        if self._uses.use(session, now_ms):
            self._store.use_session(session.id, now_ms)
        return SignedIn(found.user, session)


def _derived(token: AccessToken, secret: str) -> str:
    return rules.derived_token(
        secret, key_id=token.key_id, issued_ms=token.issued_ms, nonce=token.nonce, scope=token.scope
    )
