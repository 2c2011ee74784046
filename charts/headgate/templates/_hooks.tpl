{{/* What TLS between the planes adds to their pods: variables, volumes and mounts. Each takes $. */}}
{{- define "headgate.controlplane.tlsEnv" -}}{{- end }}
{{- define "headgate.controlplane.tlsVolumes" -}}{{- end }}
{{- define "headgate.controlplane.tlsMounts" -}}{{- end }}
{{- define "headgate.dataplane.tlsEnv" -}}{{- end }}
{{- define "headgate.dataplane.tlsVolumes" -}}{{- end }}
{{- define "headgate.dataplane.tlsMounts" -}}{{- end }}

{{/* Contradictions in the values of secrets, TLS and etcd, a line for each. Takes $. */}}
{{- define "headgate.checks.data" -}}{{- end }}
