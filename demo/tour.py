"""The tour: every request as a curl line to repeat, its answer, and the check of the answer."""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from demo.processes import StartError
from demo.world import CASHIER, World

PATIENCE = 15.0
"""Seconds within which an expected event (such as the closing of a breaker) must happen."""


class StepFailed(Exception):
    """A step had an unexpected result."""


@dataclass
class Tour:
    """Runs the steps and counts failures."""

    world: World
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10, trust_env=False))
    failures: int = 0

    def walk(self) -> int:
        """Run every step; returns the number of failed ones."""
        with self.client:
            for step in (
                self.token_opens_the_gate,
                self.no_token,
                self.missing_scope,
                self.burst,
                self.one_bucket,
                self.failing_service,
                self.killed_instance,
                self.live_change,
            ):
                self.run(step)
        return self.failures

    def run(self, step: Callable[[], None]) -> None:
        title = (step.__doc__ or step.__name__).rstrip(".")
        print(f"\n── {title}")
        try:
            step()
        except (StepFailed, StartError, httpx.HTTPError) as error:
            self.failures += 1
            print(f"   ✗ {error}")

    # The steps, in order.

    def token_opens_the_gate(self) -> None:
        """A token opens the gate."""
        token = self.login("testuser", "testpass")
        self.show("GET", "/orders", 200, token=token)

    def no_token(self) -> None:
        """Without a token the gate stays shut."""
        self.show("GET", "/orders", 401)

    def missing_scope(self) -> None:
        """A token without the scope is not enough."""
        token = self.login("testuser", "testpass", quiet=True)
        self.show("GET", "/payments", 403, token=token)

    def burst(self) -> None:
        """A burst meets the rate limit."""
        url = f"{self.world.gateway}/public"
        print(f"   $ for i in $(seq 40); do curl -s -o /dev/null -w '%{{http_code}} ' {url}; done")
        answers = [self.client.get(url) for _ in range(40)]
        codes = [answer.status_code for answer in answers]
        print("   " + " ".join(map(str, codes)))
        limited = [answer for answer in answers if answer.status_code == 429]
        expect(codes[0] == 200 and bool(limited), "first 200, later 429")
        retry_after = limited[0].headers.get("Retry-After", "")
        expect(retry_after.isdigit(), f"429 with Retry-After: {retry_after or 'missing'}")

    def one_bucket(self) -> None:
        """Two data planes, one limit: together they let through no more than one bucket."""
        urls = [f"{dataplane.url}/together" for dataplane in self.world.dataplanes]
        print(f"   $ for i in $(seq 40); do curl -s -o /dev/null -w '%{{http_code}} ' {' '.join(urls)}; done")
        begun = time.monotonic()
        passed = dict.fromkeys(urls, 0)
        for _ in range(40):
            for url in urls:
                passed[url] += self.client.get(url).status_code == 200
        # One comes back each second.
        bound = 60 + math.ceil(time.monotonic() - begun)
        total = sum(passed.values())
        each = " and ".join(map(str, passed.values()))
        expect(total <= bound and min(passed.values()) > 0, f"{each} of 40 passed: {total}, at most {bound}")
        self.owner_and_reset(urls)

    def owner_and_reset(self, urls: list[str]) -> None:
        """Where the limit is counted, and more of it."""
        api = f"{self.world.controlplane.url}/api/v1/rate-limits"
        print("   $ .venv/bin/headgate login --demo")
        print(f"   $ .venv/bin/headgate limits --limit together    # or: curl {api}?limit=together")
        seen = self.until(
            lambda: self.client.get(api, params={"limit": "together"}),
            lambda answer: answer.status_code == 200 and bool(answer.json()[0]["buckets"]),
        ).json()[0]
        print(f"   {seen['bound']['reason']}; refused: {seen['refused']}")
        key = seen["buckets"][0]["key"]
        print(f"   $ .venv/bin/headgate limits reset {key}")
        with self.world.controlplane.admin() as admin:
            answer = admin.delete(f"/api/v1/rate-limits/{key}", params={"wait": "25"})
        full = answer.json()["buckets"]
        self.report(answer, 200, "1 bucket is full again" if full == 1 else f"{full} buckets are full again")
        for url in urls:
            self.until(lambda url=url: self.client.get(url), lambda seen: seen.status_code == 200)  # type: ignore[misc]
        expect(True, "both data planes let requests through again")

    def failing_service(self) -> None:
        """A failing service opens its breaker, and a recovered one closes it."""
        token = self.login(CASHIER, self.world.cashier_password, known_from="cashier_password")
        payments = self.world.instance("payments-1").url
        self.show("GET", "/payments", 200, token=token)
        print(f"   $ curl -X POST {payments}/fail")
        self.client.post(f"{payments}/fail").raise_for_status()
        opened = self.until(lambda: self.get("/payments", token), lambda answer: answer.status_code == 503)
        self.show("GET", "/payments", 503, token=token)
        expect("Circuit breaker is open for service payments" in opened.text, "the breaker is open")
        print(f"   $ curl -X POST {payments}/recover")
        self.client.post(f"{payments}/recover").raise_for_status()
        begun = time.monotonic()
        self.until(lambda: self.get("/payments", token), lambda answer: answer.status_code == 200)
        self.show("GET", "/payments", 200, token=token)
        print(f"   the breaker closed {time.monotonic() - begun:.1f} s after the service had recovered")

    def killed_instance(self) -> None:
        """An instance is killed, and nobody notices; then it is started again."""
        token = self.login("testuser", "testpass", quiet=True)
        victim = self.world.processes["orders-1"]
        print(f"   $ kill -9 {victim.pid}    # orders-1")
        victim.kill()
        try:
            self.nobody_notices(token)
        finally:
            self.world.restart(victim.name)
        expect(True, "orders-1 is back, and both data planes find it healthy")

    def nobody_notices(self, token: str) -> None:
        answers = [self.get("/orders", token) for _ in range(20)]
        served = {answer.json().get("instance") for answer in answers if answer.status_code == 200}
        print("   " + " ".join(str(answer.status_code) for answer in answers))
        expect(all(answer.status_code == 200 for answer in answers), f"20 × 200, served by {sorted(served)}")

    def live_change(self) -> None:
        """A route is changed live, on both data planes."""
        route = {"name": "live", "prefix": "/live", "service_name": "orders", "public": True}
        self.show_login(
            f"{self.world.controlplane.url}/api/v1/auth/token", "admin", known_from="admin_password"
        )
        document = json.dumps({"routes": [route]})
        print(f"   $ curl -X POST {self.world.controlplane.url}/api/v1/apply -d '{document}' \\")
        print('         -H "Content-Type: application/json" -H "Authorization: Bearer $TOKEN"')
        pending = {dataplane.url for dataplane in self.world.dataplanes}
        with self.world.controlplane.admin() as admin:
            begun = time.perf_counter()
            answer = admin.post("/api/v1/apply", json={"routes": [route]}).raise_for_status()
            written = (time.perf_counter() - begun) * 1000
        while pending and time.perf_counter() - begun < PATIENCE:
            pending -= {url for url in pending if self.client.get(f"{url}/live").status_code == 200}
        served = (time.perf_counter() - begun) * 1000
        expect(not pending, f"revision {answer.json()['revision']} is served by both data planes")
        print(
            f"   written after {written:.0f} ms, served by both data planes {served:.0f} ms after the request"
        )

    # Parts of the steps.

    def login(self, username: str, password: str, quiet: bool = False, known_from: str = "") -> str:
        """Get a token, showing the curl line unless `quiet`; `known_from` names a secret's place in demo.json."""
        url = f"{self.world.gateway}/api/v1/auth/token"
        data = {"username": username, "password": password}
        answer = self.until(lambda: self.client.post(url, data=data), lambda seen: seen.status_code == 200)
        if not quiet:
            self.show_login(url, username, password, known_from)
            self.report(answer, 200, "{access_token: …}")
        return str(answer.json()["access_token"])

    def show_login(self, url: str, username: str, password: str = "", known_from: str = "") -> None:
        """Show the commands for the same token; a secret is read from the demo's file."""
        if known_from:
            facts = f'json.load(open("{self.world.folder.name}/demo.json"))["{known_from}"]'
            print(f"   $ PASSWORD=$(python3 -c 'import json; print({facts})')")
            password = "$PASSWORD"  # noqa: S105 -- the name of a shell variable
        print(f'   $ TOKEN=$(curl -s -X POST {url} -d "username={username}&password={password}" \\')
        print("         | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"access_token\"])')")

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.client.get(self.world.gateway + path, headers=headers)

    def show(self, method: str, path: str, status: int, token: str | None = None) -> httpx.Response:
        """Send one request as a reader would with curl, print both, and expect the status."""
        line = ["curl", "-i", f"{self.world.gateway}{path}"]
        print("   $ " + shlex.join(line) + (' -H "Authorization: Bearer $TOKEN"' if token else ""))
        answer = self.get(path, token)
        self.report(answer, status, answer.text)
        return answer

    def report(self, answer: httpx.Response, status: int, body: str) -> None:
        print(f"   {answer.status_code} {body[:140]}")
        expect(answer.status_code == status, f"{status} expected, {answer.status_code} seen", quiet=True)

    def until(
        self, request: Callable[[], httpx.Response], wanted: Callable[[httpx.Response], bool]
    ) -> httpx.Response:
        """Repeat a request until it has the expected answer."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = request()
            if wanted(answer):
                return answer
            if time.monotonic() > deadline:
                raise StepFailed(f"still {answer.status_code} after {PATIENCE:g} s: {answer.text[:200]}")
            time.sleep(0.05)


def expect(holds: bool, words: str, quiet: bool = False) -> None:
    """Print a true condition, or fail the step."""
    if not holds:
        raise StepFailed(words)
    if not quiet:
        print(f"   ✓ {words}")
