"""The reason why a connection failed, in plain words: OpenSSL and resolvers describe their internals."""

from __future__ import annotations

from collections.abc import Mapping

_CAUSES: Mapping[str, str] = {
    "connection refused": "connection refused, nothing listens there",
    "wrong version number": "it does not speak TLS: use http:// instead of https://",
    "record layer failure": "it does not speak TLS: use http:// instead of https://",
    "hostname mismatch": "its certificate is for another name",
    "ip address mismatch": "its certificate is for another name",
    "certificate has expired": "its certificate has expired",
    "certificate is not yet valid": "its certificate is not valid yet",
    "certificate verify failed": "no known authority signed its certificate: name the authority's file with --ca",
    "certificate required": "it asks for a client certificate, which this command does not have",
    "name or service not known": "its host name is not known",
    "nodename nor servname": "its host name is not known",
    "no address associated": "its host name has no address",
    "temporary failure in name resolution": "no name server answers",
    "network is unreachable": "the network is unreachable",
    "no route to host": "there is no route to the host",
    "connection reset": "the connection was reset",
    "eof occurred": "it ended the TLS handshake",
}
"""Texts in errors of the libraries, and their meaning; the first match counts."""


def explain(error: Exception) -> str:
    """The reason in a few words."""
    said = str(error).lower()
    for sign, words in _CAUSES.items():
        if sign in said:
            return words
    return "the connection failed (--verbose shows why)"
