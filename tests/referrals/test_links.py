"""What a visit through a link is, and where it leads."""

import pytest

from loyalty.referrals.links import kind_of_visit, landing

PERSON = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1"


@pytest.mark.parametrize(
    "user_agent",
    [
        PERSON,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ],
)
def test_a_person_visits(user_agent: str) -> None:
    assert kind_of_visit(method="GET", user_agent=user_agent, purpose="") == "visit"


def test_a_person_with_a_cubot_phone_visits() -> None:
    phone = "Mozilla/5.0 (Linux; Android 16; CUBOT X90) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"
    assert kind_of_visit(method="GET", user_agent=phone, purpose="") == "visit"


@pytest.mark.parametrize(
    "user_agent",
    [
        "",
        "Googlebot/2.1 (+http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; bingbot/2.0)",
        "facebookexternalhit/1.1",
        "WhatsApp/2.23.20.0",
        "TelegramBot (like TwitterBot)",
        "Slackbot-LinkExpanding 1.0",
        "curl/8.5.0",
        "python-httpx/0.28",
        "Mozilla/5.0 HeadlessChrome/140.0",
    ],
)
def test_a_program_is_told_from_a_person(user_agent: str) -> None:
    assert kind_of_visit(method="GET", user_agent=user_agent, purpose="") == "bot"


@pytest.mark.parametrize("purpose", ["prefetch", "Prefetch;prerender", "preview", " prefetch"])
def test_a_look_ahead_is_no_visit(purpose: str) -> None:
    assert kind_of_visit(method="GET", user_agent=PERSON, purpose=purpose) == "prefetch"


def test_a_head_request_is_no_visit() -> None:
    assert kind_of_visit(method="HEAD", user_agent=PERSON, purpose="") == "prefetch"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.test", "https://shop.test?loyalty_click=t.o.k"),
        ("https://shop.test/hi", "https://shop.test/hi?loyalty_click=t.o.k"),
        ("https://shop.test/hi?a=1&a=2", "https://shop.test/hi?a=1&a=2&loyalty_click=t.o.k"),
        ("https://shop.test/hi#top", "https://shop.test/hi?loyalty_click=t.o.k#top"),
        ("http://shop.test:8080/a%20b?q=%C3%A4#x?y", "http://shop.test:8080/a%20b?q=%C3%A4&loyalty_click=t.o.k#x?y"),
    ],
)
def test_the_landing_page_keeps_what_its_address_has(url: str, expected: str) -> None:
    assert landing(url, token="t.o.k") == expected
