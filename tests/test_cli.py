"""The command line, as an operator types it (the README's lines among them)."""

import asyncio
import json
import os
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner, Result
from tests.configuration.cafe import CAFE
from tests.conftest import SECRET
from tests.shop import credentials_of

from loyalty.cli import main


@pytest.fixture
def slug() -> str:
    return f"cli-{uuid4().hex[:20]}"


@pytest.fixture(autouse=True)
def environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", database_url)
    monkeypatch.setenv("LOYALTY_SECRET_KEY", SECRET)


def run(line: str) -> Result:
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 0, result.output
    return result


async def typed(line: str, **environment: str) -> str:
    """Run a line in a process of its own, as beside a running loop it must, and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "loyalty",
        *line.split(),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


@pytest.fixture
def program(slug: str) -> str:
    line = f"programs create {slug} --name Shop --mode live --currency EUR --currency JPY --time-zone Europe/Berlin"
    assert run(line).output.startswith("prg_")
    return slug


@pytest.mark.parametrize(("kind", "prefix"), [("secret", "lk_sk_live_"), ("publishable", "lk_pk_live_")])
def test_a_program_gets_keys(program: str, kind: str, prefix: str) -> None:
    assert run(f"keys create --program {program} --name till --kind {kind}").output.startswith(prefix)


async def test_a_restricted_key_opens_what_it_names(program: str, client: httpx.AsyncClient) -> None:
    line = f"keys create --program {program} --name report --kind restricted --scope program:read"
    headers = credentials_of(await typed(line))
    assert (await client.get("/v1/program", headers=headers)).json()["currencies"] == ["EUR", "JPY"]
    assert (await client.get("/v1/members", headers=headers)).json()["code"] == "scope_missing"


@pytest.mark.parametrize("role", ["owner", "manager", "analyst", "support"])
async def test_a_manager_is_added_and_signs_in(program: str, client: httpx.AsyncClient, role: str) -> None:
    email, password = f"eva@{program}.example.com", "correct horse battery"
    line = f"managers add {email} --program {program} --role {role}"
    assert (await typed(line, LOYALTY_MANAGER_PASSWORD=password)).startswith("mgr_")
    body = {"program": program, "email": email, "password": password}
    signed_in = await client.post("/v1/manager-sessions", json=body)
    client.cookies.clear()
    assert signed_in.json()["role"] == role


def test_history_is_imported_once_and_the_books_hold(program: str, tmp_path: Path) -> None:
    total = {"amount": 1000, "currency": "EUR"}
    order = {"kind": "order", "external_id": "o-1", "external_customer_id": "ann", "at": "2025-01-02T00:00:00Z"}
    records = [
        {"kind": "enrolment", "external_customer_id": "ann", "at": "2025-01-01T00:00:00Z"},
        {**order, "currency": "EUR", "lines": [{"sku": "a", "total": total}]},
    ]
    file = tmp_path / "history.jsonl"
    file.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    assert "1 orders, 1 enrolments" in run(f"import {file} --program {program}").output
    assert "2 records were there already" in run(f"import {file} --program {program}").output
    assert run(f"ledger verify --program {program}").output == "All 1 wallets hold (0 entries).\n"


async def test_points_are_given_from_a_file(program: str, client: httpx.AsyncClient, tmp_path: Path) -> None:
    headers = credentials_of(await typed(f"keys create --program {program} --name till"))
    member = await client.post("/v1/members", json={"external_id": "ann"}, headers={**headers, "Idempotency-Key": "1"})
    assert member.status_code == 201
    file = tmp_path / "gifts.csv"
    file.write_text("external_id,member,points,reason\nr-1,ann,5,gift\n", encoding="utf-8")
    assert await typed(f"adjust {file} --program {program} --dry-run") == "2: r-1: given"
    assert await typed(f"adjust {file} --program {program}") == "2: r-1: given"
    assert await typed(f"adjust {file} --program {program}") == "2: r-1: already"
    assert (await typed(f"ledger verify --program {program}")).startswith("All 1 wallets hold (1 entries).")


def test_a_configuration_goes_from_test_to_live_as_a_file(program: str, tmp_path: Path) -> None:
    run(f"programs create test-{program} --name Try --currency EUR --currency JPY --time-zone Europe/Berlin")
    written, exported = tmp_path / "cafe.yaml", tmp_path / "program.yaml"
    written.write_text(CAFE, encoding="utf-8")
    settings = (
        'settings: currencies ["EUR","JPY"] → ["EUR"], unit points → beans, expiry.kind never → after,'
        " expiry.months null → 12, expiry.round_up_to null → month, clawback clamp_to_zero → allow_debt,"
        ' burn.rates.EUR null → {"points":100,"amount_minor":100}, burn.most_percent 100 → 50'
    )
    created = [
        *('rule "A bean a euro"', 'rule "Happy hour"', 'rule "Review"', 'rule "Christmas"'),
        *('reward "Coffee"', 'reward "Tote bag"', 'reward "Birthday cake"', 'reward "Partner voucher"'),
        'referral campaign "Bring a friend"',
    ]
    changes = [f"~ {settings}", *(f"+ {thing}" for thing in created)]
    assert run(f"programs import test-{program} {written}").output.splitlines() == changes
    exported.write_text(run(f"programs export test-{program}").output, encoding="utf-8")

    for _ in range(2):
        assert run(f"programs import {program} {exported} --dry-run").output.splitlines() == changes
    assert run(f"programs import {program} {exported}").output.splitlines() == changes
    assert run(f"programs import {program} {exported}").output == "Nothing changes.\n"
    assert run(f"programs export {program}").output == exported.read_text(encoding="utf-8")

    changed = CAFE.replace("percent: 200", "percent: 150").replace("cost_points: 100\n", "cost_points: 120\n")
    changed = changed.replace("sku: flat-white", "sku: latte").replace("cost_points: 400", "cost_points: 450")
    changed = changed.replace("stock: 50", "stock: 60")
    kept = changed[: changed.index("- name: Review")] + changed[changed.index("- name: Christmas") :]
    written.write_text(kept, encoding="utf-8")
    said = run(f"programs import {program} {written}").output.splitlines()
    assert said[0].startswith('~ rule "Happy hour": terms.percent 200 → 150, active_from ')
    assert said[1:] == [
        '- rule "Review" retired',
        '~ reward "Coffee" retired and made anew: value.sku flat-white → latte, cost_points 100 → 120',
        '~ reward "Tote bag": cost_points 400 → 450',
        '= reward "Tote bag" keeps what is left of it',
    ]


def test_a_file_with_faults_is_refused_with_all_of_them(program: str, tmp_path: Path) -> None:
    file = tmp_path / "program.yaml"
    file.write_text("version: 1\nsettings: {time_zone: Asia/Tokyo}\nrewards:\n- {name: 1}\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["programs", "import", program, str(file)])
    assert result.exit_code == 1
    assert [line for line in result.output.splitlines() if line.startswith("  ")] == [
        "  /rewards/0/name: Input should be a valid string",
        "  /rewards/0/kind: Field required",
        "  /rewards/0/cost_points: Field required",
    ]
    file.write_text("version: 1\nsettings: {time_zone: Asia/Tokyo}\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["programs", "import", program, str(file)])
    assert "  /settings/time_zone: A program keeps its time zone" in result.output
    file.write_text("version: 1\nversion: 1\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["programs", "import", program, str(file)])
    assert "  file: Line 2, column 1: This key stands here twice" in result.output


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("programs create x --name X --currency EUR --time-zone UTC", "at least 3 characters"),
        ("programs create shop-x --name X --currency EUR --time-zone Mars/Base", "IANA time zone"),
        ("programs create shop-x --name X --currency XXQ --time-zone UTC", "ISO 4217"),
        ("programs export there-is-none", "no such program"),
        ("keys create --program there-is-none --name k", "no such program"),
        ("keys create --program there-is-none --name k --kind master", "'secret', 'publishable', 'restricted'"),
        ("managers add eva --program shop --role owner --password correct-horse-battery", "e-mail"),
        ("managers add eva@example.com --program shop --role owner --password short", "12 characters"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(line: str, said: str) -> None:
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code != 0
    assert said in result.output
    assert "Traceback" not in result.output
