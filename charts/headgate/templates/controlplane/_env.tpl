{{/* The variables of the control plane that the chart sets. */}}
{{- define "headgate.controlplane.env" -}}
{{- $plane := .Values.controlplane }}
{{- $any := include "headgate.anyHost" . }}
{{- $self := eq .Values.ipFamily "IPv6" | ternary "[$(POD_IP)]" "$(POD_IP)" }}
- {name: ADMIN_LISTEN, value: "{{ $any }}:8080"}
- {name: GRPC_LISTEN, value: "{{ $any }}:50051"}
- {name: ETCD_ENDPOINTS, value: {{ include "headgate.etcdEndpoints" . | quote }}}
- {name: ADMIN_USERNAME, value: {{ $plane.adminUsername | quote }}}
- {name: EXPOSE_ADMIN, value: {{ $plane.exposeAdmin | quote }}}
- {name: DASHBOARD, value: {{ $plane.dashboard.enabled | quote }}}
- {name: TRAFFIC_HISTORY, value: {{ include "headgate.number" $plane.dashboard.history | quote }}}
- {name: RATE_LIMIT_PER_SECOND, value: {{ include "headgate.number" .Values.dataplane.rateLimit.perSecond | quote }}}
- {name: RATE_LIMIT_BURST, value: {{ include "headgate.number" .Values.dataplane.rateLimit.burst | quote }}}
- {name: LIMIT_SHARE_SECONDS, value: {{ include "headgate.number" $plane.limitShareSeconds | quote }}}
- {name: LOG_LEVEL, value: {{ $plane.logLevel }}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- {name: ADVERTISE, value: "{{ $self }}:8080"}
- {name: ADVERTISE_GRPC, value: "{{ $self }}:50051"}
{{- $secret := include "headgate.secret" . }}
{{- range list "SECRET_KEY" "DATAPLANE_TOKEN" "SERVICE_TOKEN" "ADMIN_PASSWORD" }}
{{ include "headgate.fromSecret" (dict "key" . "secret" $secret) }}
{{- end }}
{{- include "headgate.controlplane.certificateEnv" . }}
{{- include "headgate.telemetryEnv" (list . "controlplane") }}
{{- range $name, $values := dict "TRUSTED_PROXIES" $plane.trustedProxies "REGISTER_ALLOW" $plane.registerAllow "REGISTER_DENY" $plane.registerDeny "UNIX_SOCKETS" $plane.unixSockets }}
{{- with $values }}
- {name: {{ $name }}, value: {{ join "," . | quote }}}
{{- end }}
{{- end }}
{{- with $plane.registration.kubernetes }}
{{- if .enabled }}
- {name: SERVICE_ACCOUNT_TOKENS, value: "true"}
- {name: SERVICE_ACCOUNT_AUDIENCE, value: {{ .audience | quote }}}
{{- with .issuers }}
- {name: SERVICE_ACCOUNT_ISSUERS, value: {{ join "," . | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- include "headgate.controlplane.tlsEnv" . }}
{{- end }}

{{/* Those of the admin API's certificate and of etcd's. */}}
{{- define "headgate.controlplane.certificateEnv" -}}
{{- with .Values.controlplane.adminTls }}
{{- if .secret }}
- {name: ADMIN_CERT, value: /etc/headgate/admin/tls.crt}
- {name: ADMIN_KEY, value: /etc/headgate/admin/tls.key}
{{- if .ca }}
- {name: ADMIN_CA, value: /etc/headgate/admin/ca.crt}
{{- end }}
{{- else }}
- {name: ADMIN_PLAINTEXT, value: "true"}
{{- end }}
{{- end }}
{{- if include "headgate.etcdClientTlsSecret" . }}
- {name: ETCD_CA, value: /etc/headgate/etcd/ca.crt}
{{- if include "headgate.etcdClientCertificate" . }}
- {name: ETCD_CERT, value: /etc/headgate/etcd/tls.crt}
- {name: ETCD_KEY, value: /etc/headgate/etcd/tls.key}
{{- end }}
{{- end }}
{{- end }}
