{{/* Parts of the Deployments of both planes. Each takes (list $ plane), unless it says otherwise. */}}

{{/* replicas and history of the Deployment; the strategy. */}}
{{- define "headgate.deployment" -}}
{{- $plane := index (index . 0).Values (index . 1) -}}
revisionHistoryLimit: {{ $plane.revisionHistoryLimit }}
minReadySeconds: {{ $plane.minReadySeconds }}
strategy:
  type: {{ $plane.strategy.type }}
  {{- if eq $plane.strategy.type "RollingUpdate" }}
  rollingUpdate: {{- toYaml $plane.strategy.rollingUpdate | nindent 4 }}
  {{- end }}
selector:
  matchLabels: {{- include "headgate.componentSelector" . | nindent 4 }}
{{- end }}

{{/* Seconds until a pod that ends is killed. Takes (list plane drain): the seconds that the process itself may need. */}}
{{- define "headgate.grace" -}}
{{- $plane := index . 0 }}
{{- $plane.terminationGracePeriodSeconds | default (add $plane.preStopSeconds (index . 1) 10) }}
{{- end }}

{{/* Account, scheduling and security of a pod. */}}
{{- define "headgate.pod" -}}
{{- $root := index . 0 }}{{ $plane := index $root.Values (index . 1) -}}
serviceAccountName: {{ include "headgate.serviceAccount" . | quote }}
# A Service named redis would otherwise set REDIS_PORT to a URL.
enableServiceLinks: false
{{- include "headgate.imagePullSecrets" $root }}
securityContext: {{- toYaml $plane.podSecurityContext | nindent 2 }}
{{- with $plane.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $plane.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $plane.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $plane.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $plane.topologySpreadConstraints }}
topologySpreadConstraints: {{- include "headgate.spread" (list (include "headgate.componentSelector" $) .) | nindent 2 }}
{{- end }}
{{- with $plane.initContainers }}
initContainers: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $plane.extraPodSpec }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Takes (list selector constraints). Pods of an earlier revision do not count, or a rollout would end unbalanced. Nodes
with taints do not count either: a node without pods that can have none would limit all others to maxSkew pods.
*/}}
{{- define "headgate.spread" -}}
{{- $selector := index . 0 | fromYaml }}
{{- range index . 1 }}
{{- $own := dict "nodeTaintsPolicy" "Honor" }}
{{- if not (hasKey . "labelSelector") }}
{{- $own = merge $own (dict "labelSelector" (dict "matchLabels" $selector) "matchLabelKeys" (list "pod-template-hash")) }}
{{- end }}
- {{ merge (dict) . $own | toYaml | nindent 2 | trim }}
{{- end }}
{{- end }}

{{/*
Environment variables: those of the chart, replaced and followed by the user's. Those of the chart that refer to others,
$(NAME), are last: Kubernetes inserts only variables before them. Takes (list plane chart's).
*/}}
{{- define "headgate.env" -}}
{{- $plane := index . 0 }}
{{- $listed := dict }}
{{- range $plane.extraEnv }}{{ $_ := set $listed .name true }}{{ end }}
{{- $referring := list }}
{{- range index . 1 | fromYamlArray }}
{{- if not (or (hasKey $listed .name) (hasKey $plane.env .name)) }}
{{- if contains "$(" (get . "value" | default "") }}
{{- $referring = append $referring . }}
{{- else }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := $plane.env }}
{{- if not (hasKey $listed $name) }}
- {name: {{ $name | quote }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- range concat $plane.extraEnv $referring }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end }}

{{/* The probes of a container. Takes (list plane port scheme). */}}
{{- define "headgate.probes" -}}
{{- $port := index . 1 }}{{ $scheme := upper (index . 2) }}
{{- range $name, $settings := (index . 0).probes }}
{{ $name }}Probe:
  httpGet: {path: {{ eq $name "readiness" | ternary "/ready" "/health" }}, port: {{ $port }}, scheme: {{ $scheme }}}
  {{- toYaml $settings | nindent 2 }}
{{- end }}
{{- end }}

{{/* Keep serving while the endpoints change: they are removed at the same time as the pod gets SIGTERM. Takes a plane. */}}
{{- define "headgate.preStop" -}}
{{- if .preStopSeconds }}
lifecycle:
  preStop: {sleep: {seconds: {{ .preStopSeconds }}}}
{{- end }}
{{- end }}

{{/* The annotations of a pod. Takes (list $ plane port scheme). */}}
{{- define "headgate.podAnnotations" -}}
{{- $values := (index . 0).Values }}
{{- $scraped := and $values.scrapeAnnotations (not $values.monitoring.podMonitor.enabled) (not $values.monitoring.serviceMonitor.enabled) }}
{{- $annotations := dict }}
{{- if $scraped }}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" (index . 2) "prometheus.io/scheme" (index . 3) "prometheus.io/path" "/metrics" }}
{{- end }}
{{- with merge (dict) (index $values (index . 1)).podAnnotations $annotations (include "headgate.secretChecksum" (index . 0) | fromYaml) }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
