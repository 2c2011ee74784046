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
{{- if and .Values.networkPolicy.enabled $outside (not .Values.networkPolicy.admin) }}
- The Ingress controller or load balancer cannot reach the admin API: name its namespace or network in networkPolicy.admin.
{{- end }}
{{- with .Values.networkPolicy }}
{{- if and (not .enabled) (or .traffic .registry .admin .monitoring .egress.enabled .egress.extra) }}
- The values of networkPolicy have no effect: set networkPolicy.enabled.
{{- end }}
{{- end }}
{{- include "headgate.warnings.drain" (list "controlplane" $controlplane.pdb $controlplane.replicas) }}
{{- $dataplane := .Values.dataplane }}
{{- include "headgate.warnings.drain" (list "dataplane" $dataplane.pdb ($dataplane.autoscaling.enabled | ternary $dataplane.autoscaling.minReplicas $dataplane.replicas)) }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring) (or .Values.scrapeAnnotations .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled) }}
- Prometheus cannot reach the pods: name its namespace in networkPolicy.monitoring.
{{- end }}
{{- end }}

{{/* A budget that never lets a pod be evicted. Takes (list plane pdb replicas); replicas may be unknown. */}}
{{- define "headgate.warnings.drain" -}}
{{- $pdb := index . 1 }}
{{- $fewest := toString $pdb.minAvailable }}
{{- $enough := and $pdb.minAvailable (not (hasSuffix "%" $fewest)) (index . 2) (ge (int $pdb.minAvailable) (int (index . 2))) }}
{{- $none := and (not $pdb.minAvailable) (has (toString $pdb.maxUnavailable) (list "0" "0%")) }}
{{- if and $pdb.enabled (or $enough $none (eq $fewest "100%")) }}
- No node with a pod of {{ index . 0 }} can be drained: lower {{ index . 0 }}.pdb.minAvailable, or raise maxUnavailable or the number of pods.
{{- end }}
{{- end }}
