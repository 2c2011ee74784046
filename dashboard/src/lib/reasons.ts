// Why requests were not served, in words: docs/reference/errors.md.
import type { Reasons } from "../api/types";

const WORDS: Record<string, string> = {
  address_denied: "address not allowed",
  bad_request: "malformed request",
  bad_response: "malformed answer of the instance",
  circuit_open: "circuit open",
  client_left: "client left",
  client_stalled: "client stopped reading",
  exhausted: "no descriptor or port left",
  forbidden: "scope missing",
  limited: "over a limit",
  method_not_allowed: "method not allowed",
  none_healthy: "no healthy instance",
  not_configured: "no configuration yet",
  not_found: "no route matches",
  not_registered: "no instance registered",
  origin_denied: "origin not allowed",
  saturated: "too many under way",
  timed_out: "instance took too long",
  too_large: "body too large",
  too_many_connections: "too many connections",
  unauthenticated: "no valid token",
  unavailable: "instance not reached",
  uncounted: "limit's store does not answer",
  unusable: "route cannot be used",
  without_service: "no service for the share",
};

export function reasonWords(decision: string): string {
  return WORDS[decision] ?? decision.replaceAll("_", " ");
}

/** The reasons, the most frequent first. */
export function ranked(reasons: Reasons): [string, number][] {
  return Object.entries(reasons).sort(([, one], [, other]) => other - one);
}

export function total(reasons: Reasons): number {
  return Object.values(reasons).reduce((sum, one) => sum + one, 0);
}
