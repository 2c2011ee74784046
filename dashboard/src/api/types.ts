// Shapes of the admin API, as far as the dashboard reads them: docs/reference/admin-api-operations.md.

export type Severity = "critical" | "warning" | "info";

export interface Trouble {
  severity: Severity;
  kind: string;
  title: string;
  detail: string;
  since: string | null;
  resource: string;
  revision: number | null;
  nodes: string[];
  count: number;
}

export interface Problem {
  resource: string;
  field: string;
  detail: string;
}

export interface Rejection {
  revision: number;
  withheld: boolean;
  problems: Problem[];
  at: string | null;
}

export interface Dataplane {
  node: string;
  version: string;
  connected: boolean;
  sent_revision: number;
  applied_revision: number;
  digest: string;
  last_seen: string | null;
  last_rejection: Rejection | null;
  total_requests: number;
  connected_since: string | null;
  applied_at: string | null;
  seconds_to_apply: number | null;
  stats_at: string | null;
}

export interface Counts {
  connected: number;
  serving: number;
  waiting: number;
  rejecting: number;
  gone: number;
  services: number;
  routes: number;
}

export interface Head {
  time: string;
  version: string;
  revision: number;
  digest: string;
  published_at: string | null;
  counts: Counts;
  troubles: Trouble[];
  more: number;
}

export interface FleetState extends Head {
  dataplanes: Dataplane[];
}

export interface FleetPatch extends Head {
  changed: Dataplane[];
  gone: string[];
}

export interface Session {
  username: string | null;
  read: boolean;
  write: boolean;
  scopes: string[];
  expires: string | null;
  seconds: number;
  renewable: boolean;
  version: string;
}

export interface Changed {
  action: string;
  kind: string;
  name: string;
}

export interface ChangeRecord {
  revision: number;
  author: string;
  time: string;
  summary: string;
  changes: Changed[];
  whole: boolean;
}

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface FieldEdit {
  field: string;
  before: Json;
  after: Json;
}

export interface Edit extends Changed {
  before: Record<string, Json> | null;
  after: Record<string, Json> | null;
  fields: FieldEdit[];
  password: boolean;
}

export interface WholeChange extends ChangeRecord {
  edits: Edit[];
}

export interface Receipt {
  revision: number;
  changes: Changed[];
  warnings?: { field: string; detail: string }[];
  unfinished?: string;
  edits?: Edit[];
}

export interface NodeProgress {
  node: string;
  connected: boolean;
  applied_revision: number;
  done: boolean;
  reason: string;
  rejection: Rejection | null;
}

export interface Rollout {
  revision: number;
  state: "served" | "waiting" | "rejected";
  serving: number;
  needed: number;
  nodes: NodeProgress[];
  problem: string;
}

export interface Instance {
  status: "starting" | "healthy" | "unhealthy" | "draining";
  last_check: string | null;
  reason: string;
  host: string;
  port: number | null;
  weight: number;
  metadata: Record<string, string>;
  workers: number;
  source: "registered" | "static" | "discovered";
}

export interface Service {
  service_name: string;
  description?: string;
  instances: Record<string, Instance>;
  healthy: number;
  total: number;
  revision: number;
  discovered: { source: string; instances: number; problem: string; since: string | null } | null;
  [field: string]: unknown;
}

export interface Verdict {
  at: string;
  /** null: the verdict of the fleet. */
  dataplane: string | null;
  status: string;
  previous: string | null;
  reason: string;
  healthy: number;
  unhealthy: number;
}

export interface Verdicts {
  status: string | null;
  reason: string;
  healthy: number;
  unhealthy: number;
  starting: number;
  /** Those that find it unhealthy first. */
  judges: { dataplane: string; status: string; since: string | null }[];
  verdicts: Verdict[];
  noted_since: string | null;
}

export interface Breaker {
  state: "closed" | "half_open" | "open";
  last_state_change: string | null;
  stats: { total_requests: number; failed_requests: number; rejected_requests: number };
  recent_failures: number;
  reason: string;
}

export interface Circuit extends Breaker {
  service_name: string;
  config: Record<string, number>;
  dataplanes: Record<string, Breaker>;
}

export interface Destination {
  service_name: string;
  weight: number;
}

export interface Route {
  name: string;
  prefix?: string | null;
  path?: string | null;
  hosts?: string[];
  methods?: string[];
  service_name?: string | null;
  services?: Destination[];
  scopes?: string[];
  public?: boolean;
  rate_limits?: string[];
  timeout?: number | null;
  revision: number;
  [field: string]: unknown;
}

export interface Bucket {
  key: string;
  remaining: number;
  refused: number;
}

export interface RateLimit {
  name: string;
  per_second: number | null;
  burst: number | null;
  max_concurrent: number | null;
  key: string | null;
  enforce: string | null;
  mode: string | null;
  owner: string | null;
  bound: { holds: boolean; reason: string; over: string } | null;
  refused: number;
  more: number;
  buckets: Bucket[];
}

export interface Rates {
  requests_per_second: number;
  client_errors_per_second: number;
  server_errors_per_second: number;
  error_share: number;
}

export interface NodeTraffic {
  node: string;
  requests_per_second: number | null;
  error_share: number | null;
  p50: number | null;
  p99: number | null;
  in_flight: number | null;
  connections: number | null;
  memory_bytes: number | null;
}

/** Requests a second, by the decision about them. */
export type Reasons = Record<string, number>;

export interface InstanceTraffic {
  instance_id: string;
  status: Instance["status"];
  requests_per_second: number;
  error_share: number;
  ejected_at: number;
}

export interface LimitTraffic {
  name: string;
  refused_per_second: number;
  shadowed_per_second: number;
}

export interface ServiceTraffic {
  service_name: string;
  requests_per_second: number;
  errors_per_second: number;
  error_share: number;
  p50: number | null;
  p99: number | null;
  circuit: "closed" | "half_open" | "open";
  open_at: string[];
  healthy: number;
  total: number;
  failures: Reasons;
  ejected: number;
  instances: InstanceTraffic[];
}

export interface RouteTraffic extends Rates {
  name: string;
  service_name: string | null;
  services: string[];
  rate_limits: string[];
  refusals: Reasons;
}

export interface Point {
  at: string;
  requests_per_second: number;
  client_errors_per_second: number;
  server_errors_per_second: number;
  p50: number | null;
  p99: number | null;
}

export interface TrafficHistory {
  step: number;
  seconds: number;
  points: Point[];
  /** Requests of the whole time, by decision. */
  refusals: Reasons;
}

export interface Traffic {
  at: string;
  every: number;
  revision: number;
  total: Rates & { p50: number | null; p99: number | null; refusals: Reasons };
  dataplanes: NodeTraffic[];
  services: ServiceTraffic[];
  routes: RouteTraffic[];
  limits: LimitTraffic[];
}

export interface LiveEvent {
  type: string;
  at: string;
  text: string;
  revision?: number;
  service_name?: string;
  instance_id?: string;
  state?: string;
  reason?: string;
  node?: string;
}

export interface Step {
  stage: string;
  outcome: string;
  text: string;
  details: Record<string, unknown>;
}

export interface Explanation {
  dataplane: string;
  worker: number;
  revision: number;
  status: number | null;
  decision: string;
  detail: string | null;
  reason: string | null;
  route: string | null;
  service: string | null;
  instance: string | null;
  steps: Step[];
}

export interface Tapped {
  dataplane: string;
  request_id: string;
  method: string;
  path: string;
  status: number;
  decision: string;
  route: string;
  duration_us: number;
}
