"""A PgBouncer of the test's own, in transaction mode, before the server of the suite."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from loyalty.core.embedded.place import find_place

SERVER_CONNECTIONS: Final = 4
PROGRAM: Final = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_START_SECONDS: Final = 20
_SETTINGS: Final = """
[databases]
* = host={host} port={to}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
"""


@contextmanager
def bouncer(server_url: str) -> Iterator[str]:
    """Run PgBouncer, and give the URL of the same database through it. As root it would refuse to run."""
    account, url = find_place(Path.cwd()).account, urlsplit(server_url)
    with socket.socket() as probe, tempfile.TemporaryDirectory(prefix="bouncer-") as name:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        settings, users = Path(name) / "pgbouncer.ini", Path(name) / "users"
        users.write_text(f'"{url.username}" "{url.password}"\n')
        settings.write_text(
            _SETTINGS.format(host=url.hostname, to=url.port, port=port, users=users, size=SERVER_CONNECTIONS)
        )
        for path in (settings, users, Path(name)):
            account.own(path)
        process = subprocess.Popen(
            [str(PROGRAM), "--quiet", str(settings)],
            user=account.user,
            group=account.group,
            extra_groups=account.extra_groups,
            cwd=name,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await_start(process, port)
            yield server_url.replace(f":{url.port}/", f":{port}/")
        finally:
            process.terminate()
            process.wait()


def _await_start(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("PgBouncer did not start")
