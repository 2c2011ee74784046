{{/* The standard variables of OpenTelemetry. Takes $ and the plane; only data planes have the sampler. */}}
{{- define "headgate.telemetryEnv" -}}
{{- $root := index . 0 }}
{{- with $root.Values.telemetry }}
{{- if .endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ .protocol | quote }}}
- {name: OTEL_EXPORTER_OTLP_COMPRESSION, value: {{ .compression | quote }}}
{{- with .headersSecret }}
{{ include "headgate.fromSecret" (dict "key" "OTEL_EXPORTER_OTLP_HEADERS" "secret" .) }}
{{- end }}
{{- if .tlsSecret }}
- {name: OTEL_EXPORTER_OTLP_CERTIFICATE, value: /etc/headgate/telemetry/ca.crt}
{{- end }}
{{- range $signal, $on := dict "TRACES" .traces "METRICS" .metrics "LOGS" .logs }}
{{- if not $on }}
- {name: OTEL_{{ $signal }}_EXPORTER, value: none}
{{- end }}
{{- end }}
{{- $pairs := list (printf "k8s.namespace.name=%s" (include "headgate.namespace" $root)) }}
{{- range $name, $value := .resourceAttributes }}
{{- $pairs = append $pairs (printf "%s=%s" $name ($value | toString | urlquery | replace "+" "%20")) }}
{{- end }}
- {name: OTEL_RESOURCE_ATTRIBUTES, value: {{ join "," $pairs | quote }}}
{{- if eq (index $ 1) "dataplane" }}
- {name: OTEL_TRACES_SAMPLER, value: {{ .sampler | quote }}}
{{- if hasSuffix "traceidratio" .sampler }}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ .samplerRatio | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The Secret with the authority of the collector's certificate; empty without one. */}}
{{- define "headgate.telemetrySecret" -}}
{{- if .Values.telemetry.endpoint }}{{ .Values.telemetry.tlsSecret }}{{ end }}
{{- end }}
