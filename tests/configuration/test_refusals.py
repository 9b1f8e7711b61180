"""What cannot be configured is refused whole, with every fault by its place in the file; and who may not."""

import pytest
from tests.configuration.cafe import CAFE, EMPTY, exported, put, put_yaml, start_empty
from tests.shop import Json, Shop, credentials_of

FEBRUARY, MARCH = "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"
BONUS: Json = {"kind": "bonus", "points": 10}
TEA: Json = {"name": "Tea", "kind": "free_shipping", "cost_points": 5}

FAULTY = """\
version: 1
settings: {time_zone: Mars/Base, currencies: [EUR, XXQ], late_orders: 3}
earning_rules:
- {name: A, terms: {kind: bonus, points: "10"}}
- {name: A, terms: {kind: bonus, points: 10, conditions: {windows: [{from: 14:00, until: 14:00}]}}}
- {name: B, draft: yes, terms: {kind: luck}}
- {name: C, terms: {kind: bonus, points: 1}, later: [{terms: {kind: bonus, points: 0}}]}
rewards:
- {name: 12, kind: percent_off, value: {amount: {amount: 1, currency: EUR}}, cost_points: 5}
- {name: D, kind: free_shipping, cost_points: 5, pooled: true, stock: 3}
referral_campaign: {name: Friends, landing_url: ftp://nowhere, advocate_points: 1}
"""


async def test_every_fault_of_a_file_is_told_by_its_place(shop: Shop) -> None:
    before = await shop.digest()
    problem = await put_yaml(shop, FAULTY, expect=400)
    assert problem["code"] == "validation_failed"
    assert sorted((own["pointer"], own["code"]) for own in problem["errors"]) == [
        ("/earning_rules/0/name", "double_name"),
        ("/earning_rules/0/terms/points", "int_type"),
        ("/earning_rules/1/name", "double_name"),
        ("/earning_rules/1/terms/conditions/windows/0/until", "window"),
        ("/earning_rules/2/draft", "bool_type"),
        ("/earning_rules/2/terms", "union_tag_not_found"),
        ("/earning_rules/3/later/0/active_from", "missing"),
        ("/earning_rules/3/later/0/terms/points", "greater_than_equal"),
        ("/referral_campaign/landing_url", "web_address"),
        ("/referral_campaign/referee_points", "missing"),
        ("/rewards/0/name", "string_type"),
        ("/rewards/0/value", "value"),
        ("/rewards/1/stock", "stock"),
        ("/settings/currencies/1", "currency"),
        ("/settings/late_orders", "extra_forbidden"),
        ("/settings/time_zone", "time_zone"),
    ]
    assert await shop.digest() == before


async def test_everything_that_the_program_refuses_is_told_at_once(shop: Shop) -> None:
    document = {
        "version": 1,
        "settings": {"time_zone": "Europe/Paris", "late_order_days": 3},
        "earning_rules": [
            {"name": "New", "terms": BONUS, "active_from": MARCH, "active_until": FEBRUARY},
            {"name": "base", "terms": BONUS},
        ],
        "rewards": [{**TEA, "available_from": MARCH, "available_until": FEBRUARY}],
    }
    problem = await shop.refuses("PUT", "/v1/configuration", document, status=400, code="validation_failed")
    assert [(own["pointer"], own["code"]) for own in problem["errors"]] == [
        ("/settings/time_zone", "time_zone_is_for_good"),
        ("/earning_rules/0", "rule_ends_before_it_begins"),
        ("/earning_rules/1", "rule_version_exists"),
        ("/rewards/0", "reward_ends_too_soon"),
    ]


@pytest.mark.parametrize(
    "body", [None, [], {}, {"version": 2}, {"version": "1"}, {"version": True}, {"version": 1, "tiers": []}]
)
@pytest.mark.parametrize("part", [{}, {"earning_rules": None}])
async def test_what_is_no_configuration_is_refused(shop: Shop, body: object, part: Json) -> None:
    sent = {**body, **part} if isinstance(body, dict) else body
    await shop.refuses("PUT", "/v1/configuration", sent, status=400, code="validation_failed")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("version: 1\nversion: 1\n", "Line 2, column 1: This key stands here twice"),
        ("version: 1\nrewards: &all []\nearning_rules: *all\n", "Line 2, column 10: There should be no anchors"),
        ("[" * 100_000, "no more than 32 levels"),
        ("version: [1\n", "Line 2, column 1"),
        (b"version: \xff\n", "Byte 10 is no UTF-8"),
        ("", "JSON body is required"),
    ],
)
async def test_yaml_that_cannot_be_read_is_refused_by_its_line(shop: Shop, content: str | bytes, said: str) -> None:
    problem = await put_yaml(shop, content, expect=400)
    assert said in problem["errors"][0]["detail"]


async def test_only_yaml_and_json_are_taken_and_yaml_is_short(shop: Shop) -> None:
    headers = {**credentials_of(shop.key), "Content-Type": "text/yaml"}
    reply = await shop.client.put("/v1/configuration", content=CAFE, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (415, "content_type_not_supported")
    assert (await put_yaml(shop, "#" * 600_000, expect=413))["code"] == "body_too_large"
    headers["Content-Type"] = "application/yaml"
    reply = await shop.client.patch("/v1/program", content="name: Shop", headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (415, "content_type_not_supported")


async def test_things_of_one_name_are_neither_exported_nor_overwritten(shop: Shop) -> None:
    await start_empty(shop)
    for _ in range(2):
        await shop.post("/v1/earning-rules", {"name": "Twice", "terms": BONUS})
        reward = await shop.reward()
    doubles = {"earning_rules": ["Twice"], "rewards": ["5 off"]}
    problem = await shop.refuses("GET", "/v1/configuration", status=409, code="names_not_unique")
    assert problem["data"] == doubles
    problem = await shop.refuses("PUT", "/v1/configuration", EMPTY, status=409, code="names_not_unique")
    assert problem["data"] == doubles
    assert (await put(shop, {"version": 1, "settings": {"late_order_days": 3}}))["changes"] != []
    await shop.send("PATCH", f"/v1/rewards/{reward['id']}", {"retired": True}, expect=200)
    problem = await shop.refuses("GET", "/v1/configuration", status=409, code="names_not_unique")
    assert problem["data"] == {"earning_rules": ["Twice"], "rewards": []}


async def test_each_part_needs_its_scope(shop: Shop) -> None:
    async def key(*scopes: str) -> str:
        made = await shop.post("/v1/keys", {"kind": "restricted", "name": "k", "scopes": list(scopes)})
        return str(made["secret"])

    path, settings = "/v1/configuration", {"version": 1, "settings": {"late_order_days": 3}}
    writer = await key("program:write")
    await shop.send("PUT", path, settings, bearer=writer, expect=200)
    refused = await shop.refuses(
        "PUT", path, {"version": 1, "rewards": []}, status=403, code="scope_missing", bearer=writer
    )
    assert refused["data"] == {"scope": "rewards:write"}
    for missing in ("rewards:read", "referrals:read"):
        scopes = {"program:read", "rewards:read", "referrals:read"} - {missing}
        refused = await shop.refuses("GET", path, status=403, code="scope_missing", bearer=await key(*sorted(scopes)))
        assert refused["data"] == {"scope": missing}
    reader = await key("program:read", "rewards:read", "referrals:read")
    assert (await shop.get(path, bearer=reader)) == await exported(shop)
