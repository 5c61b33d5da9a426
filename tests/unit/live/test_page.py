"""The web view's document refers to nothing outside itself, and its policy allows nothing else."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

from labctl.live.page import page


def test_it_names_no_address_but_that_of_a_namespace() -> None:
    addresses = re.findall(r"[a-z]+://[^\s\"'<>)]+", page().html)
    assert addresses == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(script|link|img|iframe)[^>]*\ssrc=", page().html)
    assert "@import" not in page().html
    assert "url(" not in page().html


def test_nothing_is_written_as_markup() -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", page().html)


def test_the_policy_allows_what_stands_in_the_document_and_no_more() -> None:
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", page().html, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page().html, re.DOTALL)
    for text in (script, style):
        assert f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" in page().policy
    assert "unsafe" not in page().policy
    assert page().policy.startswith("default-src 'none';")


def test_no_handler_stands_in_the_markup() -> None:
    """The policy would refuse it."""
    assert not re.search(r"<[^>]+\son[a-z]+=", page().html)
    assert not re.search(r"<[^>]+\sstyle=", page().html)
