"""Which commands of the documentation `make snippets` runs, and what they need beside a demo.

Run are lines of shell blocks that begin with `headgate`, or with a `curl` of this machine, and README's block about the
demo as a whole. Only checked, by `tests.support.snippets`, are lines that need a program of others (docker, etcdctl,
helm, jq, kubectl, openssl, redis-cli), another machine, or a setting of a plane. `make tutorial` runs docs/tutorial,
`make docker-test` docs/how-to/compose.md, `make kubernetes` docs/kubernetes.md; docs/reference/commands.md is made from
`--help`, whose examples have names of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.pages import DOCS, ROOT, all_pages, blocks
from tests.support.snippets import reason_not_to_run, without_comment

LINE = re.compile(r"(\.venv/bin/)?headgate [a-z]|curl( -[\w-]+| [A-Z]+)* http://localhost:")
ENDLESS = re.compile(r"--watch|-w\b")
INSTEAD = {
    "https://admin.example.org --context prod --ca ca.pem": "http://127.0.0.1:8080 -u admin --context prod",
    "password=…": '"password=$PASSWORD"',
    # It registers itself, as none of the pages' own instances can.
    "drain orders orders-v2": "drain orders orders-1",
}
"""What stands in the pages, and what it is here."""
FILES = {
    "gateway.yaml": ROOT / "README.md",
    "orders.yaml": DOCS / "how-to/canary.md",
    "limits.yaml": DOCS / "how-to/limits.md",
    "routes.yaml": DOCS / "how-to/routing.md",
    **{
        f"{name}.yaml": DOCS / f"how-to/{name}.md"
        for name in (
            *("addresses", "answers", "authorization", "compression", "cors"),
            *("headers", "mirror", "pools", "timeouts"),
        )
    },
    "shop/shop.yaml": DOCS / "how-to/declarative.md",
}
"""Files that commands name, and the page whose first YAML they are."""
ELSEWHERE = (DOCS / "kubernetes.md", DOCS / "how-to/compose.md", DOCS / "reference/commands.md")
"""Pages that other tests run."""
ASSUMED = """\
rate_limits:
  - {name: callers, per_second: 100, burst: 200, key: subject}
scopes:
  - {name: "shop:read"}
users:
  - {username: alice, password: a-long-password, scopes: ["shop:read"]}
routes:
  - {name: shop, prefix: /shop, service_name: orders, scopes: ["shop:read"], rate_limits: [callers]}
"""
"""What the pages' examples name and the demo does not have."""
OLD = "routes:\n  - {name: old, prefix: /old, service_name: orders, public: true}\n"
CALLERS = """\
ALICE=$(curl -s http://localhost:8000/api/v1/auth/token -d 'username=alice&password=a-long-password' \\
        | python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')
curl -s http://localhost:8000/shop -H "Authorization: Bearer $ALICE" > /dev/null
command curl -s http://localhost:8000/public > /dev/null
"""
"""Requests of the callers whose limits are reset: each has a bucket then."""


def pages() -> Iterator[tuple[Path, list[tuple[str, str]]]]:
    """Each page with the place and the text of what is run of it."""
    for page in all_pages():
        if page not in ELSEWHERE and page.parent != DOCS / "tutorial" and (found := list(_of(page))):
            yield page, found


def _of(page: Path) -> Iterator[tuple[str, str]]:
    for block in blocks(page):
        if block.language != "bash" or reason_not_to_run(block):
            continue
        if "TOKEN=$(curl" in block.text and "jq" not in block.text:
            yield block.place, block.text
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            bare = without_comment(line).strip()
            if LINE.match(bare) and not ENDLESS.search(bare):
                yield block.place, bare


def first_yaml(page: Path) -> str:
    return next(block.text for block in blocks(page) if block.language == "yaml")


def write_files(home: Path) -> None:
    """Everything that commands read, and that the pages' examples assume."""
    for name, page in FILES.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(first_yaml(page))
    (home / "config" / "teams").mkdir(parents=True, exist_ok=True)
    (home / "config" / "gateway.yaml").write_text(first_yaml(FILES["gateway.yaml"]))
    (home / "config" / "teams" / "shop.yaml").write_text("services:\n  - {service_name: shop}\n")
    (home / "extra.yaml").write_text("scopes:\n  - {name: extra}\n")
    (home / "assumed.yaml").write_text(ASSUMED)
    (home / "old.yaml").write_text(OLD)


def prepared(text: str, base: int, now: int) -> str:
    """The text as it is run: revisions 57 and 61 are `base` and `now`, and what it needs stands before it."""
    for there, here in INSTEAD.items():
        text = text.replace(there, here)
    text = re.sub(r"\b57\b", str(base), text)
    text = re.sub(r"\b61\b", str(now), text)
    if " -u admin" in text:
        text += ' --password-stdin <<< "$PASSWORD"'
    if re.search(r"limits reset|DELETE \S+/rate-limits", text):
        return CALLERS + text
    if text == "headgate store confirm":
        return f"{text} --yes"  # nobody is there to be asked
    if text.startswith("headgate sync") and not re.search("--yes|--dry-run", text):
        return f"{text} --yes"
    if text.startswith("headgate delete"):
        return f"headgate apply -f old.yaml\n{text}"
    # It ends with 1 where there is a difference.
    return f"{text} || test $? = 1" if text.startswith("headgate diff") else text
