"""One operator's secret derives every signing and hashing key, each for one purpose.

The previous secret still verifies.
"""

import hmac
from datetime import datetime
from typing import Any

import jwt

from loyalty.core.settings import Settings

_ALGORITHM = "HS256"
_HASH = "sha256"


class Keyring:
    def __init__(self, settings: Settings) -> None:
        secrets = [settings.secret_key, settings.secret_key_previous]
        self._secrets = [secret.get_secret_value().encode() for secret in secrets if secret is not None]
        self._keys: dict[str, list[bytes]] = {}

    def digest(self, purpose: str, value: str) -> bytes:
        """Hash a value so that only this operator can tell what it was, or compare it with another."""
        return self.digests(purpose, value)[0]

    def digests(self, purpose: str, value: str) -> tuple[bytes, ...]:
        """Return the hash under the current secret and the previous one, if any: what is kept may be either."""
        written = value.encode()
        return tuple([hmac.digest(key, written, _HASH) for key in self._keys_for(purpose)])

    def sign(self, purpose: str, claims: dict[str, Any], *, expires_at: datetime | None = None) -> str:
        """Return a compact signed token (JWT, HS256); `expires_at` is an instant of the real world's clock."""
        expiry = {} if expires_at is None else {"exp": int(expires_at.timestamp())}
        return jwt.encode({**claims, **expiry, "aud": purpose}, self._keys_for(purpose)[0], algorithm=_ALGORITHM)

    def verify(self, purpose: str, token: str) -> dict[str, Any] | None:
        """Return the claims of a token signed for this purpose and not past its expiry; None for anything else."""
        for key in self._keys_for(purpose):
            try:
                claims: dict[str, Any] = jwt.decode(token, key, algorithms=[_ALGORITHM], audience=purpose)
            except jwt.InvalidTokenError:
                continue
            return claims
        return None

    def _keys_for(self, purpose: str) -> list[bytes]:
        """Return the keys of one of our few purposes, the current one first."""
        keys = self._keys.get(purpose)
        if keys is None:
            keys = self._keys[purpose] = [hmac.digest(secret, purpose.encode(), _HASH) for secret in self._secrets]
        return keys
