"""The producer's page of the built app, with a stand-in for the service."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page

from tests.web.producer.facts import PRODUCER
from tests.web.producer.service import Service


@pytest.fixture
def service(page: Page) -> Service:
    made = Service()
    made.serve(page)
    return made


@pytest.fixture
def address(alone: httpx.Client) -> str:
    return f"{alone.base_url}/producer"


def open_page(page: Page, address: str, producer: str = PRODUCER) -> None:
    page.goto(address)
    page.get_by_label("Producer id").fill(producer)
