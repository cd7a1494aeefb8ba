"""What the environment says of the way to a server: named where it is wrong, never a crash."""

from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.runtime.model.surroundings import (
    SurroundingsUnusable,
    certificates,
    proxy_for,
)

PROXY = "http://proxy.test:3128"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
HINT = "Set it to an address such as http://proxy.example:3128, or unset it."
PIECES = ("[", "]", "::1", ":", "/", "10.0.0.0", "8", "*", ".", "a.test", "://", "http", "é", "%")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "entry", "excepted"),
    [
        ("http://a.test/v1", "", False),
        ("http://a.test/v1", "*", True),
        ("http://a.test/v1", "a.test", True),
        ("http://a.test/v1", "b.test, a.test", True),
        ("http://x.a.test/v1", "a.test", True),
        ("http://x.a.test/v1", ".a.test", True),
        ("http://x.a.test/v1", "*.a.test", True),
        ("http://xa.test/v1", "a.test", False),
        ("http://a.test:81/v1", "a.test:81", True),
        ("http://a.test/v1", "a.test:81", False),
        ("http://a.test/v1", "https://a.test", False),
        ("http://[2001:db8::1]/v1", "[2001:db8::1]", True),
        ("http://[2001:db8::1]/v1", "2001:db8::/32", True),
        ("http://[2001:db8::1]:81/v1", "[2001:db8::1]:81", True),
        ("http://10.1.2.3/v1", "10.0.0.0/8", True),
        ("http://10.1.2.3/v1", "10.1.2.3", True),
        ("http://11.1.2.3/v1", "10.0.0.0/8", False),
        ("http://a.test/v1", "10.0.0.0/8,[::1],[::1,::1]:x,10.0.0.0/99", False),
        ("http://127.0.0.2/v1", "", True),
        ("http://[::1]/v1", "", True),
        ("http://x.localhost/v1", "", True),
    ],
)
def test_what_no_proxy_excepts(
    url: str, entry: str, excepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("no_proxy", entry)
    found = proxy_for(url, {"http_proxy": PROXY})
    assert (found is None) is excepted
    assert found is None or (found.url, found.variable) == (PROXY, "http_proxy")


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_an_entry_that_cannot_be_read_is_passed_over(entry: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("http_proxy", PROXY)
        patch.setenv("no_proxy", entry)
        proxy_for("http://b.test/v1", {"http_proxy": PROXY})


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_a_proxy_can_be_used_or_its_variable_is_named(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTP_PROXY", value)
        try:
            found = proxy_for("http://b.test/v1", {"HTTP_PROXY": value})
            named = found.variable if found else "HTTP_PROXY"
        except SurroundingsUnusable as error:
            named = str(error).removesuffix(f" holds no address of a proxy. {HINT}")
    assert named == "HTTP_PROXY"


def test_a_variable_about_certificates_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    gone, empty = str(tmp_path / "gone"), tmp_path / "empty"
    empty.touch()
    for variable, path in (
        ("SSL_CERT_FILE", gone),
        ("SSL_CERT_FILE", str(empty)),
        ("SSL_CERT_FILE", str(tmp_path)),
        ("SSL_CERT_DIR", gone),
        ("SSLKEYLOGFILE", f"{gone}/keys"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
                patch.delenv(name, raising=False)
            patch.setenv(variable, path)
            with pytest.raises(SurroundingsUnusable) as caught:
                certificates(httpx.create_ssl_context, {variable: path})
        assert str(caught.value).startswith(f"{variable} is {path!r}, and the certificates cannot")
