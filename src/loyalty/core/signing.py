"""One operator's secret derives every signing and hashing key, each for one purpose.

The previous secret still verifies.
"""

import hmac
from datetime import datetime
from hashlib import sha256
from typing import Any

import jwt

from loyalty.core.settings import Settings

_ALGORITHM = "HS256"


class Keyring:
    def __init__(self, settings: Settings) -> None:
        secrets = [settings.secret_key, settings.secret_key_previous]
        self._secrets = [secret.get_secret_value().encode() for secret in secrets if secret is not None]

    def digest(self, purpose: str, value: str) -> bytes:
        """Hash a value so that only this operator can tell what it was, or compare it with another."""
        return self.digests(purpose, value)[0]

    def digests(self, purpose: str, value: str) -> tuple[bytes, ...]:
        """Return the hash under the current secret and the previous one, if any: what is kept may be either."""
        return tuple(
            hmac.digest(self._key(position, purpose), value.encode(), sha256) for position in range(len(self._secrets))
        )

    def sign(self, purpose: str, claims: dict[str, Any], *, expires_at: datetime | None = None) -> str:
        """Return a compact signed token (JWT, HS256); `expires_at` is an instant of the real world's clock."""
        expiry = {} if expires_at is None else {"exp": int(expires_at.timestamp())}
        return jwt.encode({**claims, **expiry, "aud": purpose}, self._key(0, purpose), algorithm=_ALGORITHM)

    def verify(self, purpose: str, token: str) -> dict[str, Any] | None:
        """Return the claims of a token signed for this purpose and not past its expiry; None for anything else."""
        for position in range(len(self._secrets)):
            try:
                claims: dict[str, Any] = jwt.decode(
                    token, self._key(position, purpose), algorithms=[_ALGORITHM], audience=purpose
                )
            except jwt.InvalidTokenError:
                continue
            return claims
        return None

    def _key(self, position: int, purpose: str) -> bytes:
        return hmac.digest(self._secrets[position], purpose.encode(), sha256)
