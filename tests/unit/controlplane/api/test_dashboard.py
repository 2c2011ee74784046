"""The page of the dashboard, with or without built assets, and the policy that keeps everything else out."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.api import dashboard
from tests.support.api import Api

BROWSER = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assets as a build makes them."""
    (tmp_path / "dashboard/assets").mkdir(parents=True)
    (tmp_path / "dashboard/index.html").write_text('<script src="/assets/index-1.js"></script>')
    (tmp_path / "dashboard/assets/index-1.js").write_text("let it = 1;\n" * 100)
    monkeypatch.setattr(dashboard, "files", lambda package: tmp_path)
    dashboard._files.cache_clear()
    monkeypatch.setattr(dashboard, "_files", dashboard._files.__wrapped__)


@pytest.mark.usefixtures("built")
async def test_browsers_get_the_page_and_run_only_its_assets(api: Api) -> None:
    page = await api.client.get("/", headers=BROWSER)
    assert page.status_code == 200 and "/assets/index-1.js" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-cache"
    asset = await api.client.get("/assets/index-1.js")
    assert asset.headers["Content-Type"].startswith("text/javascript")
    assert asset.headers["Content-Encoding"] == "gzip" and asset.text.startswith("let it")
    assert "immutable" in asset.headers["Cache-Control"]
    for other in ("/assets/index-2.js", "/assets/..%2Findex.html", "/assets/"):
        assert (await api.client.get(other)).status_code == 404


async def test_without_assets_the_page_says_how_to_build_them(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "files", lambda package: tmp_path)
    monkeypatch.setattr(dashboard, "_files", dashboard._files.__wrapped__)
    page = await api.client.get("/", headers=BROWSER)
    assert page.status_code == 503 and "make dashboard" in page.text and "/docs" in page.text


@pytest.mark.usefixtures("built")
async def test_switched_off_nothing_of_it_is_served(api: Api) -> None:
    api.parts.dashboard = False
    assert (await api.client.get("/", headers=BROWSER)).headers["Location"] == "/docs"
    assert (await api.client.get("/assets/index-1.js")).status_code == 404


async def test_programs_get_links_as_before(api: Api) -> None:
    assert (await api.client.get("/")).json()["links"]["reference"] == "/docs"
