"""The kinds of resources. Generated from the control plane's model: `python -m tests.support.kinds_table`."""

from __future__ import annotations

RESOURCES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    # kind, plural, the field that holds the name, every other field
    (
        "service",
        "services",
        "service_name",
        (
            "check_path",
            "check_interval",
            "check_timeout",
            "healthy_threshold",
            "unhealthy_threshold",
            "load_balancer",
            "circuit",
            "timeouts",
            "retries",
            "tls",
            "instances",
        ),
    ),
    (
        "route",
        "routes",
        "name",
        (
            "prefix",
            "path",
            "hosts",
            "methods",
            "service_name",
            "scopes",
            "public",
            "strip_prefix",
            "rewrite",
            "rate_limits",
            "timeout",
            "max_body_bytes",
            "upgrades",
        ),
    ),
    ("scope", "scopes", "name", ("description",)),
    ("user", "users", "username", ("scopes", "disabled")),
    (
        "rate_limit",
        "rate_limits",
        "name",
        ("per_second", "burst", "key", "header", "mode", "on_store_failure"),
    ),
    ("issuer", "issuers", "issuer", ()),
)
