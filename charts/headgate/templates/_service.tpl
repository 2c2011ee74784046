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
{{- with .extraSpec }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
A port of a Service. Takes (list name port nodePort appProtocol type). Without appProtocol for load balancers: that of
Azure would send its health probes as HTTP requests of /, which the gateway may answer with 404.
*/}}
{{- define "headgate.servicePort" -}}
- name: {{ index . 0 }}
  port: {{ index . 1 }}
  targetPort: {{ index . 0 }}
  {{- if ne (index . 4) "LoadBalancer" }}
  appProtocol: {{ index . 3 }}
  {{- end }}
  {{- with index . 2 }}
  nodePort: {{ . }}
  {{- end }}
{{- end }}
