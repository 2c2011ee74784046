{{/* What TLS of the gRPC port and the login of etcd add to the pods: variables, volumes and mounts. Each takes $. */}}
{{- define "headgate.controlplane.tlsEnv" -}}
{{- with .Values.grpcTls }}
{{- if .enabled }}
- {name: GRPC_CERT, value: /etc/headgate/grpc/tls.crt}
- {name: GRPC_KEY, value: /etc/headgate/grpc/tls.key}
- {name: {{ ternary "GRPC_CLIENT_CA" "GRPC_PEER_CA" .clientCertificates }}, value: /etc/headgate/grpc/ca.crt}
{{- end }}
{{- end }}
{{- with .Values.etcd.authSecret }}
{{ include "headgate.fromSecret" (dict "key" "ETCD_USERNAME" "secret" .) }}
{{ include "headgate.fromSecret" (dict "key" "ETCD_PASSWORD" "secret" .) }}
{{- end }}
{{- end }}

{{- define "headgate.controlplane.tlsVolumes" -}}
{{- if .Values.grpcTls.enabled -}}
- name: grpc-tls
  secret: {secretName: {{ include "headgate.controlplaneTlsSecret" . | quote }}}
{{- end }}
{{- end }}

{{- define "headgate.controlplane.tlsMounts" -}}
{{- if .Values.grpcTls.enabled -}}
- {name: grpc-tls, mountPath: /etc/headgate/grpc, readOnly: true}
{{- end }}
{{- end }}

{{- define "headgate.dataplane.tlsEnv" -}}
{{- with .Values.grpcTls }}
{{- if .enabled }}
- {name: CONTROLPLANE_CA, value: /etc/headgate/controlplane/ca.crt}
{{- if .clientCertificates }}
- {name: CONTROLPLANE_CERT, value: /etc/headgate/controlplane/tls.crt}
- {name: CONTROLPLANE_KEY, value: /etc/headgate/controlplane/tls.key}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "headgate.dataplane.tlsVolumes" -}}
{{- if .Values.grpcTls.enabled -}}
- name: controlplane-tls
  secret:
    secretName: {{ include "headgate.dataplaneTlsSecret" . | quote }}
    {{- if not .Values.grpcTls.clientCertificates }}
    items: [{key: ca.crt, path: ca.crt}]
    {{- end }}
{{- end }}
{{- end }}

{{- define "headgate.dataplane.tlsMounts" -}}
{{- if .Values.grpcTls.enabled -}}
- {name: controlplane-tls, mountPath: /etc/headgate/controlplane, readOnly: true}
{{- end }}
{{- end }}

{{/* Contradictions in the values of secrets, TLS and etcd, a line for each. Takes $. */}}
{{- define "headgate.checks.data" -}}
{{- if and (not .Values.existingSecret) (eq .Values.secrets.source "externalSecret") }}
{{- with .Values.secrets.externalSecret }}
{{- if not .store.name }}
secrets.source is externalSecret, but secrets.externalSecret.store.name is empty
{{- end }}
{{- if eq (empty .key) (empty .data) }}
secrets.externalSecret needs either key, an entry with all four secrets, or data
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.certificates }}
{{- if ge (int .renewDays) (int .days) }}
certificates.renewDays ({{ .renewDays }}) must be below certificates.days ({{ .days }})
{{- end }}
{{- end }}
{{- with .Values.grpcTls }}
{{- if and .services (not (and .enabled .clientCertificates)) }}
grpcTls.services needs grpcTls.enabled and grpcTls.clientCertificates
{{- end }}
{{- if and (empty .controlplaneSecret | not) (empty .dataplaneSecret) .enabled .clientCertificates }}
grpcTls.controlplaneSecret needs grpcTls.dataplaneSecret: one authority must have signed both
{{- end }}
{{- if and .dataplaneSecret (not .controlplaneSecret) .enabled }}
grpcTls.dataplaneSecret needs grpcTls.controlplaneSecret: one authority must have signed both
{{- end }}
{{- end }}
{{- with .Values.etcd }}
{{- if and .enabled .tls.enabled (ne (empty .tls.serverSecret) (empty .tls.clientSecret)) }}
etcd.tls.serverSecret and etcd.tls.clientSecret need each other: one authority must have signed both
{{- end }}
{{- if and .authSecret .enabled }}
etcd.authSecret is the login of an etcd of yours: that of the release (etcd.enabled) knows control planes by their certificates
{{- end }}
{{- if and .enabled (not .restore.snapshot) }}
{{- $members := dig "spec" "replicas" 0 (lookup "apps/v1" "StatefulSet" (include "headgate.namespace" $) (include "headgate.etcdName" $) | default dict) | int }}
{{- if and $members (ne $members (int .replicas)) }}
etcd.replicas is {{ .replicas }}, but this etcd has {{ $members }} members, and an upgrade cannot add or remove any: restore a snapshot with the new number (docs/how-to/backup.md)
{{- end }}
{{- end }}
{{- if and .restore.snapshot (not .enabled) }}
etcd.restore.snapshot needs etcd.enabled
{{- end }}
{{- if and .restore.snapshot (eq .dataDir "data") }}
etcd.restore.snapshot needs a new folder: set etcd.dataDir
{{- end }}
{{- if and .restore.snapshot (not (or .backup.enabled .backup.volume)) }}
etcd.restore.snapshot needs the volume of the snapshots: etcd.backup.enabled or etcd.backup.volume
{{- end }}
{{- end }}
{{- end }}
