"""The container files, as far as they can be judged without a container engine."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
import yaml
from pydantic import SecretStr

from loyalty.app import create_app
from loyalty.cli import main
from loyalty.core.settings import Settings

_TOP: Final = Path(__file__).parent.parent
_COMPOSE: Final = (_TOP / "docker/compose.yaml").read_text()
_SERVICES: Final[dict[str, dict[str, Any]]] = yaml.safe_load(_COMPOSE)["services"]
_OWN: Final = ("migrate", "api", "worker")
_INSTRUCTIONS: Final = [
    line.split(maxsplit=1)
    for line in (_TOP / "docker/Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
_VERSION: Final = tomllib.loads((_TOP / "pyproject.toml").read_text())["project"]["version"]


def test_every_foreign_image_is_pinned_to_a_patch_release() -> None:
    bases = [rest.split()[0] for name, rest in _INSTRUCTIONS if name == "FROM"]

    assert len(set(bases)) == 1, "what is compiled in one stage runs in the other"
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", bases[0])
    assert re.fullmatch(r"postgres:18\.\d+-bookworm", _SERVICES["postgres"]["image"])


def test_the_image_carries_the_version_of_the_package() -> None:
    assert {_SERVICES[name]["image"] for name in _OWN} == {f"loyalty:{_VERSION}"}
    assert f"loyalty:{_VERSION} " in (_TOP / "docker/README.md").read_text()


def test_only_one_service_builds_the_image_and_none_pulls_it() -> None:
    assert {name: _SERVICES[name]["pull_policy"] for name in _OWN if "build" in _SERVICES[name]} == {"migrate": "build"}
    assert {_SERVICES[name]["pull_policy"] for name in _OWN if "build" not in _SERVICES[name]} == {"never"}


def test_the_environment_is_installed_from_the_lock_by_a_pinned_uv_without_extras() -> None:
    steps = _of("RUN")

    assert any(re.search(r"pip install .*\buv==\d+\.\d+\.\d+$", step) for step in steps)
    assert [step.split()[2:] for step in steps if "uv sync" in step] == [
        ["--frozen", "--no-dev", "--no-install-project"],
        ["--frozen", "--no-dev", "--no-editable"],
    ]


def test_what_the_image_copies_is_all_that_the_build_is_given() -> None:
    copied = {source for rest in _of("COPY") if "--from" not in rest for source in rest.split()[:-1]}
    ignore = (_TOP / ".dockerignore").read_text().splitlines()

    assert "*" in ignore
    assert {line.removeprefix("!") for line in ignore if line.startswith("!")} == copied
    assert all((_TOP / source).exists() for source in copied)


def test_the_image_runs_without_root_and_takes_signals_itself() -> None:
    user, group = _of("USER")[-1].split(":")

    assert int(user) >= 10_000
    assert int(group) >= 10_000
    assert json.loads(_of("ENTRYPOINT")[-1]) == ["loyalty"]
    assert _of("STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.parametrize(
    "arguments",
    [json.loads(rest) for name, rest in _INSTRUCTIONS if name == "CMD"]
    + [service["command"] for service in _SERVICES.values() if "command" in service],
)
def test_every_command_is_one_of_the_program(arguments: list[str]) -> None:
    command = main.commands[arguments[0]]

    command.make_context(arguments[0], arguments[1:])


@pytest.mark.parametrize(("status", "ends_with"), [(200, 0), (503, 1), (500, 1)])
def test_the_health_check_follows_readiness(status: int, ends_with: int) -> None:
    with _api(status) as (port, asked):
        assert _check(port) == ends_with
    assert asked == ["/health/ready"]


def test_the_health_check_fails_when_nobody_answers() -> None:
    with _api(200) as (port, _):
        pass

    assert _check(port) == 1


def test_the_health_check_asks_for_what_the_api_serves() -> None:
    settings = Settings(
        database_url="postgresql://nowhere/none", secret_key=SecretStr("only to list the routes of the program")
    )

    assert "/health/ready" in {route.path for route in create_app(settings).routes}


def test_services_start_one_after_the_other() -> None:
    after = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in _SERVICES.items()
    }

    assert after == {
        "postgres": {},
        "migrate": {"postgres": "service_healthy"},
        "api": {"migrate": "service_completed_successfully"},
        "worker": {"migrate": "service_completed_successfully"},
    }


def test_what_runs_for_ever_has_a_health_check() -> None:
    assert "--host=127.0.0.1" in _SERVICES["postgres"]["healthcheck"]["test"], "the socket answers before it is set up"
    assert "healthcheck" not in _SERVICES["api"], "the image brings it"
    assert _SERVICES["migrate"]["healthcheck"] == {"disable": True}
    heartbeat = _SERVICES["worker"]["command"][2]
    assert heartbeat in _SERVICES["worker"]["healthcheck"]["test"][3], "the check looks at the file that is touched"


def test_what_runs_for_ever_is_restarted_and_what_ends_is_not() -> None:
    assert {name: service["restart"] for name, service in _SERVICES.items()} == {
        "postgres": "unless-stopped",
        "migrate": "no",
        "api": "unless-stopped",
        "worker": "unless-stopped",
    }


@pytest.mark.parametrize("name", _SERVICES)
def test_no_service_has_more_rights_than_it_needs(name: str) -> None:
    service = _SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user", "of the image") in {"postgres", "of the image"}
    assert not service.keys() & {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode"}


def test_the_database_is_reached_from_inside_only_and_asks_for_passwords() -> None:
    postgres = _SERVICES["postgres"]

    assert postgres["user"] == "postgres"
    assert "ports" not in postgres
    assert "database:/var/lib/postgresql" in postgres["volumes"]
    assert "--auth-local=peer --auth-host=scram-sha-256" in postgres["environment"]["POSTGRES_INITDB_ARGS"]
    assert "POSTGRES_HOST_AUTH_METHOD" not in postgres["environment"]


def test_the_role_of_the_program_is_no_superuser_and_never_sees_one() -> None:
    script = (_TOP / "docker/initdb/10-role-and-database.sql").read_text()

    assert re.findall(r"CREATE ROLE (\w+) .*\b(NOSUPERUSER|SUPERUSER)\b", script) == [("loyalty", "NOSUPERUSER")]
    for name in _OWN:
        assert "POSTGRES_PASSWORD" not in str(_SERVICES[name]["environment"])
        assert "://loyalty:" in _SERVICES[name]["environment"]["LOYALTY_DATABASE_URL"]


def test_secrets_must_be_given_and_have_no_defaults() -> None:
    required = set(re.findall(r"\$\{(\w+):\?", _COMPOSE))
    defaulted = set(re.findall(r"\$\{(\w+):-", _COMPOSE))

    assert required == {"POSTGRES_PASSWORD", "LOYALTY_DATABASE_PASSWORD", "LOYALTY_SECRET_KEY"}
    assert defaulted == {"API_LISTEN"}


@pytest.mark.parametrize("name", _OWN)
def test_the_program_is_given_every_setting_it_knows_and_no_other(name: str) -> None:
    assert set(_SERVICES[name]["environment"]) == {f"LOYALTY_{field.upper()}" for field in Settings.model_fields}


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    example = dict(re.findall(r"^(#?\w+)=(.*)$", (_TOP / "docker/.env.example").read_text(), re.MULTILINE))
    passed_on = {name for name, value in _SERVICES["api"]["environment"].items() if value is None}

    assert {name for name, value in example.items() if not name.startswith("#") and not value} == set(
        re.findall(r"\$\{(\w+):\?", _COMPOSE)
    )
    assert {name.removeprefix("#") for name in example if name.startswith("#")} == passed_on | {"API_LISTEN"}


def _of(instruction: str) -> list[str]:
    return [rest for name, rest in _INSTRUCTIONS if name == instruction]


@contextmanager
def _api(status: int) -> Iterator[tuple[int, list[str]]]:
    """Answer every request with one status; give the port and the paths asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def _check(port: int) -> int:
    """Run the image's health check against another port than the image's; return how it ended."""
    _, command = _of("HEALTHCHECK")[-1].split("CMD", maxsplit=1)
    python, option, program = json.loads(command)
    assert (python, option) == ("python", "-c")
    here = [sys.executable, option, program.replace("8000", str(port))]
    return subprocess.run(here, capture_output=True, timeout=30, check=False).returncode
