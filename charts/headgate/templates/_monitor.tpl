{{/* How Prometheus scrapes a plane. Takes (list $ monitor port scheme). */}}
{{- define "headgate.scrape" -}}
{{- $root := index . 0 }}{{ $monitor := index . 1 }}
- port: {{ index . 2 }}
  path: /metrics
  scheme: {{ index . 3 }}
  interval: {{ $monitor.interval }}
  {{- with $monitor.scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  {{- if eq (index . 3) "https" }}
  tlsConfig:
    # Pods are scraped at their addresses, which no certificate names.
    serverName: {{ printf "%s.%s.svc" (include "headgate.name" (list $root "controlplane")) (include "headgate.namespace" $root) | quote }}
    {{- if $root.Values.controlplane.adminTls.ca }}
    ca: {secret: {name: {{ $root.Values.controlplane.adminTls.secret | quote }}, key: ca.crt}}
    {{- end }}
  {{- end }}
  {{- with $monitor.relabelings }}
  relabelings: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $monitor.metricRelabelings }}
  metricRelabelings: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
