{{/* The spec of a Service but its selector and ports. Takes the values of the Service. */}}
{{- define "headgate.serviceSpec" -}}
type: {{ .type }}
{{- with .externalTrafficPolicy }}
externalTrafficPolicy: {{ . }}
{{- end }}
{{- with .loadBalancerClass }}
loadBalancerClass: {{ . | quote }}
{{- end }}
{{- with .loadBalancerSourceRanges }}
loadBalancerSourceRanges: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .ipFamilies }}
ipFamilies: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A port of a Service. Takes (list name port nodePort appProtocol). */}}
{{- define "headgate.servicePort" -}}
- name: {{ index . 0 }}
  port: {{ index . 1 }}
  targetPort: {{ index . 0 }}
  appProtocol: {{ index . 3 }}
  {{- with index . 2 }}
  nodePort: {{ . }}
  {{- end }}
{{- end }}
