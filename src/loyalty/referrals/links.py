"""What a visit through a link is: a person's, a program's, or a look ahead."""

import re
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

_BOT: Final = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|preview|facebookexternalhit|whatsapp|telegram|skypeuripreview|embedly|curl|wget|python-|"
    r"headless|monitor|scan",
    re.IGNORECASE,
)


def kind_of_visit(*, method: str, user_agent: str, purpose: str) -> str:
    """Return `visit`, or `bot` or `prefetch` where nobody has looked yet."""
    if method == "HEAD" or "prefetch" in purpose.lower() or "preview" in purpose.lower():
        return "prefetch"
    return "bot" if not user_agent or _BOT.search(user_agent) else "visit"


def landing(url: str, *, token: str) -> str:
    """Add the signed click to the campaign's landing page, keeping what the address has already."""
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode({"loyalty_click": token})) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, parts.fragment))
