"""Common parts of all commands: the choice of the control plane, shared options, and the handling of failures."""

from __future__ import annotations

import base64
import contextlib
import functools
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, get_type_hints

import typer
from typer.core import TyperGroup

from headgate.cli.api import DEFAULT_URL, AdminApi, normal_url
from headgate.cli.credentials import Context, Credentials
from headgate.cli.failure import CLOSED_PIPE, FAILED, INTERRUPTED, USAGE, Failure
from headgate.cli.usage import explain
from headgate.errors import HeadgateError
from headgate.target import present_token

_USAGE_ERROR: Final[Any] = typer.BadParameter.__mro__[2]
"""The error of typer for a malformed command line; the class itself is private in typer."""

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", help=f"Admin API. Default: HEADGATE_URL, else the current context's, else {DEFAULT_URL}"
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context", help="Context (see `headgate context`). Default: HEADGATE_CONTEXT, else the current."
    ),
]
CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca", help="PEM file of the authority for https. Default: HEADGATE_CA, else the context's."
    ),
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Also show the cause of a failure.")]
_SHARED: Final = tuple(
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name, default, annotation in (
        ("url", None, UrlOption),
        ("context", None, ContextOption),
        ("ca", None, CaOption),
        ("verbose", False, VerboseOption),
    )
)


class Commands(TyperGroup):
    """The root of all commands: every error ends in a line on stderr and an exit code."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run a command line, and exit."""
        extra["standalone_mode"] = False
        try:
            code = super().main(args, *rest, **extra)
        except _USAGE_ERROR as error:
            code = _show_usage(error)
        except typer.Abort as abort:
            code = _show_abort(abort)
        except KeyboardInterrupt:
            code = _say("interrupted", INTERRUPTED)
        except BrokenPipeError:
            code = _end_of_pipe()
        except OSError as error:
            code = _show_os_error(error)  # of --help and --version, which come before any command
        sys.exit(_flush(code if isinstance(code, int) else 0))

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (_USAGE_ERROR, typer.Abort, typer.Exit):
            raise
        except BrokenPipeError as error:
            raise typer.Exit(_end_of_pipe()) from error
        except Failure as failure:
            _say(str(failure), 0)
            _show_cause(ctx, failure.__cause__)
            raise typer.Exit(failure.exit_code) from failure
        except (KeyboardInterrupt, EOFError) as error:
            raise typer.Exit(_say("interrupted", INTERRUPTED)) from error
        except OSError as error:
            _show_os_error(error)
            _show_cause(ctx, error)
            raise typer.Exit(_failed(ctx)) from error
        except Exception as error:
            hint = "" if _verbose(ctx) else "; --verbose shows where"
            _say(f"this is a bug in headgate ({type(error).__name__}){hint}: please report it", 0)
            _show_cause(ctx, error)
            raise typer.Exit(_failed(ctx)) from error


def _failed(ctx: Any) -> int:
    """The exit code of a command that failed. Of `diff`, 1 says that there is a difference."""
    return USAGE if ctx.invoked_subcommand == "diff" else FAILED


def _say(text: str, code: int) -> int:
    with contextlib.suppress(OSError):  # the exit code shows it, too
        typer.echo(f"headgate: {text}", err=True)
    return code


def _show_os_error(error: OSError) -> int:
    if not error.filename:
        _discard_output()
    what = error.filename or "cannot write the output"
    return _say(f"{what}: {error.strerror or 'the operating system refused it'}", FAILED)


def _end_of_pipe() -> int:
    _discard_output()
    return CLOSED_PIPE


def _verbose(ctx: typer.Context) -> bool:
    return isinstance(ctx.obj, Session) and ctx.obj.verbose


def _show_cause(ctx: typer.Context, cause: BaseException | None) -> None:
    if cause is not None and _verbose(ctx):
        typer.echo("".join(traceback.format_exception(cause)).rstrip(), err=True)


def _show_usage(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return USAGE
    return _say(explain(error), USAGE)


def _show_abort(abort: typer.Abort) -> int:
    """A question that was answered with no, Ctrl-C, or the end of the input."""
    if isinstance(abort.__context__, KeyboardInterrupt):
        typer.echo(err=True)
        return _say("interrupted; nothing was changed", INTERRUPTED)
    if isinstance(abort.__context__, EOFError):
        typer.echo(err=True)
        return _say(
            "the question was not answered (--help has an option for it); nothing was changed", FAILED
        )
    return _say("cancelled; nothing was changed", FAILED)


def _flush(code: int) -> int:
    """Flush the output; returns the exit code."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return code or CLOSED_PIPE
    except OSError as error:
        _discard_output()
        return _say(f"cannot write the output: {error.strerror}", code or FAILED)
    return code


def _discard_output() -> None:
    """Python flushes again when it ends, and would report the error."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@dataclass(slots=True)
class Session:
    """The choice of the control plane. Options may be before or after the command; those after it take precedence."""

    credentials: Credentials
    url: str | None = None
    context: str | None = None
    given_ca: Path | None = None
    verbose: bool = False

    def take(
        self,
        url: str | None = None,
        context: str | None = None,
        ca: Path | None = None,
        verbose: bool = False,
    ) -> None:
        """Store the options of one position. Raises Failure for --url together with --context."""
        if url is not None and context is not None:
            raise Failure("--url and --context: only one of them names the control plane", USAGE)
        if url is not None or context is not None:
            self.url, self.context = url, context
        self.given_ca = ca or self.given_ca
        self.verbose = self.verbose or verbose

    def where(self) -> str:
        """URL of the admin API: from an option, the environment or the current context, else the local one."""
        environment = os.environ.get
        if self.url is not None:
            return normal_url(self.url)
        if self.context is not None:
            return self.credentials.context(self.context).url
        if given := environment("HEADGATE_URL"):
            return normal_url(given)
        if given := environment("HEADGATE_CONTEXT"):
            return self.credentials.context(given).url
        return self.credentials.current or DEFAULT_URL

    def ca(self, url: str) -> Path | None:
        """The authority's file for this URL."""
        given = os.environ.get("HEADGATE_CA")
        return self.given_ca or (Path(given) if given else self.credentials.ca(url))

    def api(self, url: str | None = None, *, token: bool = True) -> AdminApi:
        """The admin API, at the given URL or where commands go; `token`: with that of the environment."""
        at = normal_url(url) if url else self.where()
        given = _given_token() if token else None
        if given is not None and not _is_for_people(given):
            name = "HEADGATE_TOKEN" if os.environ.get("HEADGATE_TOKEN") else "HEADGATE_TOKEN_FILE"
            note = "is a token for services, not for people: this command uses the login"
            typer.echo(f"headgate: note: {name} {note}", err=True)
            given = None
        return AdminApi(at, self.credentials, self.ca(at), given)

    def remember(self, url: str, name: str | None) -> None:
        """After a login: store a context for the URL, under the given name or that of an existing context."""
        known = self.credentials.contexts
        named = name or next((one.name for one in known.values() if one.url == url), url.partition("://")[2])
        ca = self.ca(url)
        self.credentials.set_context(Context(named, url, str(ca.resolve()) if ca else None))


def shared(function: Callable[..., None]) -> Callable[..., None]:
    """The command, with the context as its first parameter, and the options of all commands."""
    signature = inspect.signature(function)
    hints = get_type_hints(function, include_extras=True)
    own = [one.replace(annotation=hints[one.name]) for one in signature.parameters.values()]
    more = [one for one in _SHARED if one.name not in hints]

    @functools.wraps(function)
    def command(ctx: typer.Context, **given: Any) -> None:
        taken = {one.name: given.pop(one.name) for one in more if one.name in given}
        session: Session = ctx.find_root().obj
        session.take(**taken)
        function(ctx, **given)

    # Typer derives the options of a command from the parameters of its function.
    vars(command)["__signature__"] = signature.replace(parameters=[*own, *more])
    command.__annotations__ = {**hints, **{one.name: one.annotation for one in more}}
    del vars(command)["__wrapped__"]
    return command


_ACCOUNT = "system:serviceaccount:"
"""The subject of a service account's token begins so."""


def access_token() -> str | None:
    """The access token in HEADGATE_TOKEN or HEADGATE_TOKEN_FILE. A service's token is not used for these commands.
    Raises Failure for a malformed token.
    """
    given = _given_token()
    return given if given is not None and _is_for_people(given) else None


def _given_token() -> str | None:
    try:
        return present_token()
    except HeadgateError as error:
        raise Failure(str(error)) from error


def _is_for_people(token: str) -> bool:
    """Services' tokens are not JWTs, or have the type of service tokens, or are of a service account of Kubernetes.

    They are only valid for the registry.
    """
    if token.count(".") != 2:
        return False
    header, claims = map(_decoded, token.split(".")[:2])
    subject = str((claims or {}).get("sub"))
    return header is not None and header.get("typ") != "st+jwt" and not subject.startswith(_ACCOUNT)


def _decoded(part: str) -> dict[str, Any] | None:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
