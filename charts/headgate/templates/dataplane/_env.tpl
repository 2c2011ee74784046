{{/* The variables of the data plane that the chart sets. */}}
{{- define "headgate.dataplane.env" -}}
{{- $plane := .Values.dataplane }}
{{- $any := include "headgate.dataplane.host" . }}
- {name: LISTEN, value: "{{ $plane.http.enabled | ternary $any "127.0.0.1" }}:8000"}
# Probes and Prometheus reach the status port from outside the pod; no Service of traffic leads to it.
- {name: STATUS_LISTEN, value: "{{ include "headgate.anyHost" . }}:8001"}
- {name: CONTROLPLANE, value: {{ include "headgate.controlplaneAddress" . | quote }}}
- {name: CACHE_DIR, value: /var/lib/headgate/cache}
- {name: WORKERS, value: {{ include "headgate.number" $plane.workers | quote }}}
- {name: DRAIN_TIMEOUT, value: {{ include "headgate.number" $plane.drainTimeout | quote }}}
- {name: LOG_LEVEL, value: {{ $plane.logLevel }}}
- {name: ACCESS_LOG, value: {{ $plane.accessLog | quote }}}
{{- if $plane.accessLog }}
- {name: ACCESS_LOG_FORMAT, value: {{ $plane.accessLogFormat | quote }}}
- {name: ACCESS_LOG_SAMPLING, value: {{ $plane.accessLogSampling | quote }}}
{{- end }}
- name: NODE
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- if or $plane.token.secret $plane.token.serviceAccount }}
- {name: DATAPLANE_TOKEN_FILE, value: /etc/headgate/token/DATAPLANE_TOKEN}
{{- else }}
{{ include "headgate.fromSecret" (dict "key" "DATAPLANE_TOKEN" "secret" (include "headgate.secret" .)) }}
{{- end }}
{{- include "headgate.dataplane.certificateEnv" . }}
{{- include "headgate.dataplane.limitEnv" $plane }}
{{- include "headgate.telemetryEnv" (list . "dataplane") }}
{{- range $name, $values := dict "TRUSTED_PROXIES" $plane.trustedProxies "PROXY_PROTOCOL_FROM" $plane.proxyProtocolFrom "REGISTER_ALLOW" .Values.controlplane.registerAllow "REGISTER_DENY" .Values.controlplane.registerDeny "UNIX_SOCKETS" $plane.unixSockets "STRIP_REQUEST_HEADERS" $plane.stripRequestHeaders "ACCESS_LOG_FIELDS" $plane.accessLogFields "ACCESS_LOG_REDACT" $plane.accessLogRedact }}
{{- with $values }}
- {name: {{ $name }}, value: {{ join "," . | quote }}}
{{- end }}
{{- end }}
{{- include "headgate.dataplane.tlsEnv" . }}
{{- end }}

{{/* The host that traffic is accepted on: [::] takes IPv4, too. */}}
{{- define "headgate.dataplane.host" -}}
{{- $service := .Values.dataplane.service }}
{{- $dual := or (has "IPv6" $service.ipFamilies) (has $service.ipFamilyPolicy (list "PreferDualStack" "RequireDualStack")) }}
{{- or $dual (eq .Values.ipFamily "IPv6") | ternary "[::]" "0.0.0.0" }}
{{- end }}

{{/* Certificates for clients, and for instances. */}}
{{- define "headgate.dataplane.certificateEnv" -}}
{{- if .Values.dataplane.tls.enabled }}
{{- $pairs := list }}
{{- range .Values.dataplane.tls.secrets }}
{{- $pairs = append $pairs (printf "/etc/headgate/tls/%s/tls.crt:/etc/headgate/tls/%s/tls.key" . .) }}
{{- end }}
- {name: TLS_LISTEN, value: "{{ include "headgate.dataplane.host" . }}:8443"}
- {name: TLS_CERTS, value: {{ join "," $pairs | quote }}}
{{- end }}
{{- if .Values.dataplane.upstreamTls.secret }}
- {name: UPSTREAM_CERT, value: /etc/headgate/upstream/tls.crt}
- {name: UPSTREAM_KEY, value: /etc/headgate/upstream/tls.key}
{{- end }}
{{- end }}

{{/* The limit of client addresses, and its Redis. Takes the plane. */}}
{{- define "headgate.dataplane.limitEnv" -}}
{{- with .rateLimit }}
- {name: RATE_LIMIT_PER_SECOND, value: {{ include "headgate.number" .perSecond | quote }}}
- {name: RATE_LIMIT_BURST, value: {{ include "headgate.number" .burst | quote }}}
- {name: RATE_LIMIT_MODE, value: {{ .mode | quote }}}
{{- if eq .mode "redis" }}
- {name: RATE_LIMIT_ON_STORE_FAILURE, value: {{ .onStoreFailure | quote }}}
{{- end }}
{{- end }}
{{- with .limitKeySecret }}
{{ include "headgate.fromSecret" (dict "key" "LIMIT_KEY_SECRET" "secret" .) }}
{{- end }}
{{- with .redis }}
{{- if .host }}
- {name: REDIS_HOST, value: {{ .host | quote }}}
- {name: REDIS_PORT, value: {{ include "headgate.number" .port | quote }}}
{{- end }}
{{- with .secret }}
{{ include "headgate.fromSecret" (dict "key" "REDIS_URL" "secret" .) }}
{{- end }}
{{- if .sentinels }}
- {name: REDIS_SENTINELS, value: {{ join "," .sentinels | quote }}}
- {name: REDIS_SENTINEL_NAME, value: {{ .sentinelName | quote }}}
{{- if .secret }}
- name: REDIS_SENTINEL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: REDIS_SENTINEL_PASSWORD, optional: true}}
{{- end }}
{{- end }}
{{- with .cluster }}
- {name: REDIS_CLUSTER, value: {{ join "," . | quote }}}
{{- end }}
{{- if or .host .secret .sentinels .cluster }}
- {name: REDIS_TIMEOUT, value: {{ include "headgate.number" .timeout | quote }}}
{{- with .keyPrefix }}
- {name: REDIS_KEY_PREFIX, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- if .tlsSecret }}
- {name: REDIS_CA, value: /etc/headgate/redis/ca.crt}
{{- if .clientCertificate }}
- {name: REDIS_CERT, value: /etc/headgate/redis/tls.crt}
- {name: REDIS_KEY, value: /etc/headgate/redis/tls.key}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The file with the token of a pool; empty without one. */}}
{{- define "headgate.dataplane.tokenVolume" -}}
{{- $token := .Values.dataplane.token }}
{{- if $token.secret }}
- name: token
  secret: {secretName: {{ $token.secret | quote }}}
{{- else if $token.serviceAccount }}
- name: token
  projected:
    sources:
      - serviceAccountToken:
          audience: {{ .Values.controlplane.registration.kubernetes.audience | quote }}
          expirationSeconds: 3600
          path: DATAPLANE_TOKEN
{{- end }}
{{- end }}
