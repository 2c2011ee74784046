"""The admin API over HTTP: sends and renews the login, and converts refusals to messages."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from headgate.cli.causes import explain
from headgate.cli.credentials import Credentials, Login
from headgate.cli.demo import login_command
from headgate.cli.event_stream import Event, events_of
from headgate.cli.failure import INTERRUPTED, Failure
from headgate.cli.render import printable

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT = 30.0
RENEW_BEFORE = 30.0
"""Seconds before its expiry at which an access token is renewed."""

_OTHER = " (--url, --context or HEADGATE_URL name another one)"
_LOOK = "see `headgate history`"
_ONE = "The configuration has 1 problem"
_SCOPE = re.compile(r'error="insufficient_scope".*\bscope="([^"]*)"')


class ApiError(Failure):
    """The control plane answered with a problem (RFC 9457)."""

    def __init__(
        self, status: int, detail: str, errors: list[dict[str, str]], members: Mapping[str, Any] | None = None
    ) -> None:
        """`errors`: field and detail of every problem of a configuration; `members`: those of the problem document."""
        lines = [": ".join(filter(None, (error.get("field"), error.get("detail")))) for error in errors]
        # One problem is one sentence, without a heading.
        alone = len(lines) == 1 and detail.startswith(_ONE)
        told = [lines[0] + detail.removeprefix(_ONE)] if alone else [detail, *lines]
        super().__init__("\n  ".join(map(printable, told)))
        self.status = status
        self.detail = detail
        self.errors = errors
        self.members = dict(members or {})


class Unreachable(Failure):
    """The request was not answered; a retry may succeed."""


class AdminApi:
    """One control plane's admin API."""

    def __init__(
        self, url: str, credentials: Credentials, ca: Path | None = None, token: str | None = None
    ) -> None:
        """An access `token` replaces the login. Raises Failure if the URL is malformed, or the CA's certificate cannot
        be read.
        """
        self.url = normal_url(url)
        self._token_given = token
        self._credentials = credentials
        self._client = make_client(self.url, ca)

    def __enter__(self) -> AdminApi:
        """For `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, *path: str, query: Mapping[str, str | Sequence[str]] | None = None) -> Any:
        """The JSON at a path below /api/v1, given by its unquoted parts."""
        return self._ask("GET", api_path(*path), params=query)

    def get_again(
        self, etag: str, *path: str, query: Mapping[str, str | Sequence[str]] | None = None
    ) -> tuple[Any, str] | None:
        """The JSON at a path, and its ETag; None while it has this ETag. Without an ETag, the same as `get`."""
        headers = {"If-None-Match": etag} if etag else {}
        response = self._answer("GET", api_path(*path), params=query, headers=headers)
        if response.status_code == httpx.codes.NOT_MODIFIED:
            return None
        return self._read(response), response.headers.get("etag", "")

    def read(self, *path: str) -> tuple[Any, str]:
        """The JSON at a path, and its ETag: the condition of a later `put`."""
        response = self._answer("GET", api_path(*path))
        return self._read(response), response.headers.get("etag", "")

    def put(self, *path: str, content: bytes, if_match: str, force: bool = False) -> str:
        """Replace what is at the path, if it is still the one with this ETag; its ETag now."""
        headers = {"Content-Type": "application/json", **({"If-Match": if_match} if if_match else {})}
        return self._written(
            self._answer("PUT", api_path(*path), content=content, headers=headers, params=_forced(force))
        )

    def patch(self, *path: str, content: bytes, query: Mapping[str, str] | None = None) -> str:
        """Change the fields of what is at the path that `content`, a merge patch (RFC 7396), names.

        Returns its ETag now; "" for a dry run that finds a change.
        """
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._written(
            self._answer("PATCH", api_path(*path), content=content, headers=headers, params=query)
        )

    def delete(self, *path: str, query: Mapping[str, str] | None = None) -> Any:
        """Delete the resource at the path."""
        return self._ask("DELETE", api_path(*path), params=query)

    def post(
        self,
        *path: str,
        content: bytes = b"",
        query: Mapping[str, str | Sequence[str]] | None = None,
        patience: float = 0.0,
    ) -> Any:
        """Post JSON. `patience`: seconds added to the usual time-out."""
        headers = {"Content-Type": "application/json"} if content else {}
        timeout = TIMEOUT + patience
        return self._ask(
            "POST", api_path(*path), content=content, headers=headers, params=query, timeout=timeout
        )

    @contextmanager
    def events(
        self,
        *path: str,
        query: Mapping[str, str | Sequence[str]] | None = None,
        last: str = "",
        seen: Callable[[str], None] = lambda identity: None,
    ) -> Iterator[Iterator[Event]]:
        """The server-sent events at a path, as they come, within the block: those after the one with the id `last`.

        `seen` is called with the id of each.
        """
        token, username, _ = self.present()
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        headers |= {"Last-Event-ID": last} if last else {}
        try:
            with self._client.stream("GET", api_path(*path), params=query, headers=headers) as response:
                if not response.is_success:
                    response.read()
                    self._read(self._permitted(response, username))
                yield events_of(response.iter_lines(), seen)
        except httpx.ConnectError as error:
            raise Unreachable(
                f"cannot reach the control plane at {self.url}: {explain(error)}{_OTHER}"
            ) from error
        except httpx.HTTPError as error:
            raise Unreachable(f"the connection to {self.url} broke: try again") from error

    def health(self) -> Any:
        """The answer of the control plane's /health; needs no login."""
        return self._read(self._send("GET", "/health"))

    def limit(self, seconds: float) -> None:
        """Set the longest time to wait for an answer."""
        self._client.timeout = httpx.Timeout(seconds)

    def present(self) -> tuple[str, str, float]:
        """The access token in use, its user, and its expiry in Unix seconds; "" and 0 for a token that was passed in.

        Raises Failure without a login.
        """
        if self._token_given is not None:
            return self._token_given, "", 0.0
        login = self._credentials.find(self.url)
        if login is None:
            raise Failure(f"not logged in at {self.url}: type `{login_command(self.url)}`")
        if login.expires - time.time() < RENEW_BEFORE:
            login = self._renew(login)
        return login.access_token, login.username, login.expires

    def login(self, username: str, password: str) -> None:
        """Get tokens and store them. Warns if the password is sent in plain text."""
        parts = urlsplit(self.url)
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            where = f"{parts.hostname} in plain text, where others may read it"
            sys.stderr.write(f"headgate: warning: the password goes to {where}: use https, or a tunnel\n")
        self._save(self._token(grant_type="password", username=username, password=password), username)

    def logout(self) -> bool:
        """End the login and delete it from the file; False if there was none."""
        with self._credentials.locked():
            login = self._credentials.find(self.url)
            if login is None:
                return False
            if login.refresh_token is not None:
                form = {"token": login.refresh_token}
                self._read(self._send("POST", api_path("auth", "revoke"), data=form))
            self._credentials.remove(self.url)
        return True

    def _written(self, response: httpx.Response) -> str:
        self._read(response)
        return str(response.headers.get("etag", ""))

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        return self._read(self._answer(method, path, **options))

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The response, after a renewal of the login if needed. Raises Failure for 401 and 403."""
        if self._token_given is not None:
            return self._answer_to_token(self._token_given, method, path, options)
        login = self._credentials.find(self.url)
        if login is not None and login.expires - time.time() < RENEW_BEFORE:
            login = self._renew(login)
        response = self._send(method, path, login=login, **options)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            if login is None:
                raise Failure(f"not logged in at {self.url}: type `{login_command(self.url)}`")
            response = self._send(method, path, login=self._renew(login), **options)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise Failure(f"the login at {self.url} has ended: type `{login_command(self.url)}`")
        return self._permitted(response, login.username if login else "")

    def _answer_to_token(self, token: str, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        response = self._send(method, path, login=Login("", token, 0.0), **options)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise Failure(
                f"{self.url} refuses the access token in HEADGATE_TOKEN: it has ended, or is another's"
            )
        return self._permitted(response, claims(token).get("sub", ""))

    def _permitted(self, response: httpx.Response, username: str) -> httpx.Response:
        """The response. If the caller lacks a scope, raises ApiError that names both."""
        if response.status_code != httpx.codes.FORBIDDEN:
            return response
        try:
            self._read(response)
        except ApiError as refused:
            if "needed" in refused.members:
                raise  # the detail already names them
            found = _SCOPE.search(response.headers.get("www-authenticate", ""))
            if found is None:
                raise
            lacks = f"{f'user {username}' if username else 'the caller'} lacks the scope {found[1]}"
            raise ApiError(403, f"{refused.detail}: {lacks}", refused.errors, refused.members) from refused
        return response

    def _renew(self, login: Login) -> Login:
        """A login with a new access token, from its refresh token. Raises Failure if that has expired, too."""
        with self._credentials.locked():
            found = self._credentials.find(self.url)
            if found is not None and found.access_token != login.access_token:
                return found  # another command was faster
            return self._renew_alone(login)

    def _renew_alone(self, login: Login) -> Login:
        if login.refresh_token is None:
            raise Failure(f"the login at {self.url} has ended: type `{login_command(self.url)}`")
        try:
            answer = self._token(grant_type="refresh_token", refresh_token=login.refresh_token)
        except ApiError as error:
            if error.status not in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED):
                raise
            raise Failure(f"the login at {self.url} has ended: type `{login_command(self.url)}`") from error
        return self._save(answer, login.username, login.refresh_token)

    def _token(self, **form: str) -> Mapping[str, Any]:
        response = self._send("POST", api_path("auth", "token"), data=form)
        answer = self._read(response)
        if not isinstance(answer, dict) or "access_token" not in answer:
            raise self._stranger(response)
        return answer

    def _save(self, answer: Mapping[str, Any], username: str, refresh: str | None = None) -> Login:
        expires = time.time() + float(answer.get("expires_in", 60))
        login = Login(username, str(answer["access_token"]), expires, refresh)
        if answer.get("refresh_token"):
            login = replace(login, refresh_token=str(answer["refresh_token"]))
        self._credentials.save(self.url, login)
        return login

    def _send(self, method: str, path: str, login: Login | None = None, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if login is not None:
            headers["Authorization"] = f"Bearer {login.access_token}"
        dry = "dry_run" in (options.get("params") or ())
        writes = method != "GET" and not dry and "data" not in options  # forms are those of tokens
        unknown = f"; whether the change was made is not known: {_LOOK}" if writes else ""
        patience = options.get("timeout", TIMEOUT)
        try:
            return self._client.request(method, path, headers=headers, **options)
        except httpx.ConnectTimeout as error:
            raise Unreachable(f"cannot reach the control plane at {self.url}: no answer{_OTHER}") from error
        except httpx.TimeoutException as error:
            raise Unreachable(
                f"the control plane at {self.url} did not answer within {patience:.0f} s{unknown}"
            ) from error
        except httpx.ConnectError as error:
            raise Unreachable(
                f"cannot reach the control plane at {self.url}: {explain(error)}{_OTHER}"
            ) from error
        except httpx.RemoteProtocolError as error:
            if "disconnected" in str(error):
                raise Unreachable(f"the connection to {self.url} broke{unknown or ': try again'}") from error
            raise Unreachable(
                f"{self.url} does not speak HTTP/1.1, as an admin API does{unknown or _OTHER}"
            ) from error
        except httpx.HTTPError as error:
            raise Unreachable(f"the connection to {self.url} broke{unknown or ': try again'}") from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise Failure(
                f"cannot ask {self.url}: the URL or the token holds characters that it must not"
            ) from error
        except KeyboardInterrupt as error:
            raise Failure(f"interrupted{unknown}", INTERRUPTED) from error

    def _read(self, response: httpx.Response) -> Any:
        if response.status_code == httpx.codes.NO_CONTENT:
            return None
        answer = self._json(response)
        if response.is_success:
            return answer
        if not isinstance(answer, dict):
            raise self._stranger(response)
        # The token endpoint has its own form (RFC 6749 §5.2).
        words = (answer.get(name) for name in ("detail", "error_description", "title", "error"))
        detail = next((str(word) for word in words if word), f"answered {response.status_code}")
        errors = answer.get("errors")
        raise ApiError(response.status_code, detail, errors if isinstance(errors, list) else [], answer)

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise self._stranger(response) from error

    def _stranger(self, response: httpx.Response) -> Failure:
        kind = response.headers.get("content-type", "no content type")
        return Failure(f"{self.url} is not a Headgate admin API (it answered {response.status_code}, {kind})")


def make_client(url: str, ca: Path | None) -> httpx.Client:
    """The HTTP client, without a proxy for loopback addresses."""
    host = urlsplit(url).hostname or ""
    try:
        verify = ssl.create_default_context(cafile=str(ca)) if ca else True
    except ssl.SSLError as error:
        raise Failure(f"cannot read the CA's certificate {ca}: there is no PEM certificate in it") from error
    except OSError as error:
        raise Failure(f"cannot read the CA's certificate {ca}: {error.strerror}") from error
    try:
        return httpx.Client(base_url=url, timeout=TIMEOUT, verify=verify, trust_env=not _is_loopback(host))
    except (ValueError, httpx.InvalidURL) as error:
        raise Failure("HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names no proxy that can be used") from error


def claims(token: str) -> dict[str, Any]:
    """Claims of a token, unchecked; empty if it is not a JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def api_path(*parts: str) -> str:
    """A path below /api/v1; a name may contain any character."""
    # Arguments that are not UTF-8 are texts with surrogates: there is no resource of such a name.
    return "/".join(["/api/v1", *(quote(part, safe="", errors="surrogatepass") for part in parts)])


def normal_url(url: str) -> str:
    """The URL without a trailing slash; host:port alone means HTTP. Raises Failure for other forms."""
    full = url if "://" in url else f"http://{url}"
    if "@" in full.partition("://")[2].partition("/")[0]:
        # Not shown: what stands before it may be a password.
        raise Failure("a URL holds no user name and no password here: `headgate login` asks for them")
    try:
        parts = urlsplit(full)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment:
        raise Failure(f"{url!r} is not a URL such as {DEFAULT_URL}")
    return full.rstrip("/").removesuffix("/api/v1")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _forced(force: bool) -> dict[str, str] | None:
    return {"force": "true"} if force else None


def as_option(refused: ApiError) -> ApiError:
    """The refusal with the option of the command in place of the parameter of the API."""
    said = refused.detail.replace("force=true", "--force")
    return ApiError(refused.status, said, refused.errors, refused.members)
