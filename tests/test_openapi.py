"""The OpenAPI document is committed as generated, valid and complete; the reference needs no other host."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from click.testing import CliRunner
from openapi_spec_validator import OpenAPIV31SpecValidator

from loyalty.cli import main

COMMITTED: Final = Path(__file__).parent.parent / "openapi" / "openapi.json"
METHODS: Final = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


@pytest.fixture(scope="module")
def generated() -> str:
    done = CliRunner().invoke(main, ["openapi"])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def document(generated: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(generated)
    return found


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every operation by its method and path, since the ids are yet to be proved unique."""
    return {
        f"{method} {path}": item[method] for path, item in document["paths"].items() for method in item.keys() & METHODS
    }


def test_the_committed_document_is_the_one_generated(generated: str) -> None:
    committed = COMMITTED.read_text() if COMMITTED.exists() else ""
    assert committed == generated, f"{COMMITTED.name} is out of date: run make openapi"


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


async def test_the_served_document_is_the_generated_one(client: httpx.AsyncClient, generated: str) -> None:
    reply = await client.get("/openapi.json")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.text == generated


def test_operation_ids_are_unique_and_snake_case(operations: dict[str, dict[str, Any]]) -> None:
    counted = Counter(operation["operationId"] for operation in operations.values())
    assert {name: times for name, times in counted.items() if times > 1} == {}
    assert [name for name in counted if not re.fullmatch(r"[a-z]+(_[a-z]+)+", name)] == []


def test_every_operation_says_what_it_does_and_where_it_belongs(operations: dict[str, dict[str, Any]]) -> None:
    silent = [
        name for name, operation in operations.items() if not (operation.get("summary") and operation.get("tags"))
    ]
    assert silent == []


def test_every_operation_carries_its_sentence(operations: dict[str, dict[str, Any]]) -> None:
    """The handlers' docstrings are written for the reader of the reference."""
    silent = [name for name, operation in operations.items() if not operation.get("description")]
    assert silent == []


def test_every_refusal_is_a_problem(operations: dict[str, dict[str, Any]]) -> None:
    others = {
        (name, status)
        for name, operation in operations.items()
        for status, reply in operation["responses"].items()
        if not status.startswith(("2", "3"))
        and reply["content"] != {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    }
    assert others == set()


def test_every_operation_documents_what_can_happen_to_it(operations: dict[str, dict[str, Any]]) -> None:
    for name, operation in operations.items():
        documented = set(operation["responses"])
        assert {"400", "401", "500"} <= documented or operation.get("security") == [], name
        if operation.get("security") != [] and not name.endswith("manager-sessions") and "/r/" not in name:
            assert "403" in documented, name
        keyed = any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", []))
        if keyed and not name.endswith("/batch"):  # there each item hears its own refusal
            assert {"409", "422"} <= documented, name
        if re.search(r"{\w+_id}", name):
            assert "404" in documented, name


def test_every_schema_is_used(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert [name for name in document["components"]["schemas"] if f'"#/components/schemas/{name}"' not in text] == []


def test_every_body_says_that_unknown_fields_are_refused(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bodies = {
        reference.rpartition("/")[2]
        for item in document["paths"].values()
        for operation in item.values()
        for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(operation.get("requestBody", {})))
    }
    assert len(bodies) > 15
    assert [name for name in sorted(bodies) if schemas[name].get("additionalProperties") is not False] == []


class _Addresses(HTMLParser):
    """Collects every address that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in {"src", "href"} and value]


async def test_the_reference_asks_no_other_host(client: httpx.AsyncClient) -> None:
    page = await client.get("/reference")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http:" not in policy
    assert "https:" not in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self';" in policy
    assert re.search(r"https?://|//", page.text) is None
    parser = _Addresses()
    parser.feed(page.text)
    own = [address for address in parser.found if address != "data:,"]
    assert own == ["/reference/files/swagger-ui.css", "/reference/files/swagger-ui-bundle.js", "/reference/start.js"]
    kinds = {".css": "text/css", ".js": "text/javascript"}
    for address in own:
        reply = await client.get(address)
        assert reply.status_code == 200, address
        assert reply.headers["content-type"].startswith(kinds[Path(address).suffix]), address
    started = (await client.get("/reference/start.js")).text
    assert '"/openapi.json"' in started
    assert "validatorUrl: null" in started
    assert "http" not in started


@pytest.mark.parametrize(
    "path", ["/reference/files/%2e%2e/__init__.py", "/reference/files/..%2f__init__.py", "/reference/files/nothing"]
)
async def test_the_reference_serves_only_its_own_files(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("body", "field", "prefix"),
    [("OrderIn", "customer_id", "cus"), ("RedemptionIn", "member_id", "mem"), ("RedemptionIn", "reward_id", "rew")],
)
def test_an_id_is_described_as_it_must_be_sent(document: dict[str, Any], body: str, field: str, prefix: str) -> None:
    described = json.dumps(document["components"]["schemas"][body]["properties"][field])
    assert '"uuid"' not in described, described
    assert f"^{prefix}_" in described, described


def test_bounds_of_optional_fields_are_described_too(document: dict[str, Any]) -> None:
    described = json.dumps(document["components"]["schemas"]["OrderIn"]["properties"]["external_customer_id"])
    assert '"maxLength": 128' in described, described
