{{/* Values that work, but hardly as wanted in production: a line for each, in NOTES. Takes $. */}}
{{- define "headgate.warnings" -}}
{{- $controlplane := .Values.controlplane }}
{{- $outside := or (ne $controlplane.service.type "ClusterIP") $controlplane.ingress.enabled }}
{{- if and $outside (not $controlplane.adminTls.secret) (or (ne $controlplane.service.type "ClusterIP") (not $controlplane.ingress.tls)) }}
- Passwords for the admin API cross the network unencrypted: set controlplane.adminTls.secret{{ if $controlplane.ingress.enabled }} and controlplane.ingress.tls{{ end }}.
{{- end }}
{{- if and (ne $controlplane.service.type "ClusterIP") (not .Values.grpcTls.enabled) }}
- Tokens of services cross the network unencrypted: set grpcTls.enabled.
{{- end }}
{{- if and (ne .Values.dataplane.service.type "ClusterIP") .Values.dataplane.proxyProtocolFrom .Values.dataplane.trustedProxies }}
- A load balancer sends a PROXY header or X-Forwarded-For, rarely both: see dataplane.proxyProtocolFrom and trustedProxies.
{{- end }}
{{- if eq (int $controlplane.replicas) 1 }}
- With one control plane, changes and registrations wait while it is replaced: set controlplane.replicas to 2 or more.
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring) (or .Values.scrapeAnnotations .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled) }}
- Prometheus cannot reach the pods: name its namespace in networkPolicy.monitoring.
{{- end }}
{{- end }}
