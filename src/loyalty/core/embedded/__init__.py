"""A real PostgreSQL with nothing installed: binaries from a wheel, looked after by a small supervisor.

Every process that wants the server calls `serve(home)` and holds a shared lock for as long as it
lives. One detached process, the keeper (`python -m loyalty.core.embedded`), owns the server and
stops it once it can take that lock for itself. The kernel gives locks back however their holder
ends, so neither `kill -9` nor a closed terminal leaves a server behind.

What lies in a home: `cluster/` (the data and both passwords, renamed into place when complete),
`users.lock`, `keeper.lock`, `port`, `server.log`, `keeper.log`.
"""

from loyalty.core.embedded.errors import EmbeddedRefused
from loyalty.core.embedded.serving import Server, remove, serve

__all__ = ["EmbeddedRefused", "Server", "remove", "serve"]
