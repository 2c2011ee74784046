{{/* Values that contradict each other, a line for each problem. Each of these takes $. */}}

{{- define "headgate.checks.controlplane" -}}
{{- with .Values.controlplane }}
{{- include "headgate.checks.pod" (list "controlplane" . 10) }}
{{- include "headgate.checks.service" (list "controlplane.service" .service) }}
{{- if and .ingress.enabled (not .ingress.hosts) }}
controlplane.ingress.enabled needs at least one host name in controlplane.ingress.hosts
{{- end }}
{{- with .discovery.kubernetes }}
{{- if and .namespaces (not .enabled) }}
controlplane.discovery.kubernetes.namespaces needs controlplane.discovery.kubernetes.enabled
{{- end }}
{{- end }}
{{- end }}
{{- $tls := 0 }}
{{- range .Values.etcd.endpoints }}{{ if hasPrefix "https:" . }}{{ $tls = add1 $tls }}{{ end }}{{ end }}
{{- if and $tls (not .Values.etcd.enabled) (ne (int $tls) (len .Values.etcd.endpoints)) }}
etcd.endpoints mixes http:// and https://: use one of them for all of them
{{- end }}
{{- if and .Values.etcd.tlsSecret (not .Values.etcd.enabled) (not $tls) }}
etcd.tlsSecret is used only with https:// in etcd.endpoints: change the URLs, or leave etcd.tlsSecret empty
{{- end }}
{{- end }}

{{- define "headgate.checks.dataplane" -}}
{{- $redis := .Values.dataplane.redis }}
{{- with .Values.dataplane }}
{{- include "headgate.checks.pod" (list "dataplane" . .drainTimeout) }}
{{- include "headgate.checks.service" (list "dataplane.service" .service) }}
{{- include "headgate.checks.autoscaling" .autoscaling }}
{{- if and .token.secret .token.serviceAccount }}
dataplane.token.secret and dataplane.token.serviceAccount are two credentials: use one of them
{{- end }}
{{- if and .token.serviceAccount (not $.Values.controlplane.registration.kubernetes.enabled) }}
dataplane.token.serviceAccount needs controlplane.registration.kubernetes.enabled
{{- end }}
{{- if and .tls.enabled (not .tls.secrets) }}
dataplane.tls.enabled needs the name of at least one Secret of the type kubernetes.io/tls in dataplane.tls.secrets
{{- end }}
{{- if not (or .http.enabled .tls.enabled) }}
dataplane.http.enabled and dataplane.tls.enabled are both false: the gateway would have no port; enable one of them
{{- end }}
{{- if and .http.enabled .tls.enabled (eq (int .service.port) (int .service.httpsPort)) }}
dataplane.service.port and dataplane.service.httpsPort are both {{ .service.port }}: use two ports
{{- end }}
{{- if and (eq .rateLimit.mode "redis") (not (or $redis.host $redis.secret $redis.sentinels $redis.cluster)) }}
dataplane.rateLimit.mode is redis, but no Redis is named: set dataplane.redis.host, secret, sentinels or cluster
{{- end }}
{{- if and $redis.sentinels $redis.cluster }}
dataplane.redis.sentinels and dataplane.redis.cluster exclude each other: leave one of them empty
{{- end }}
{{- if and $redis.host $redis.secret }}
dataplane.redis.host and dataplane.redis.secret exclude each other: REDIS_URL in the Secret names the host
{{- end }}
{{- end }}
{{- end }}

{{- define "headgate.checks.general" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "headgate.fullname" .)) }}
the names of Services would begin with {{ include "headgate.fullname" . }}, but they need a letter first: set fullnameOverride
{{- end }}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled }}
monitoring.podMonitor and monitoring.serviceMonitor would collect everything twice: enable one of them
{{- end }}
{{- end }}

{{/* Takes (list plane values drain). */}}
{{- define "headgate.checks.pod" -}}
{{- $name := index . 0 }}{{ $plane := index . 1 }}
{{- $needed := add $plane.preStopSeconds (index . 2) }}
{{- $grace := int $plane.terminationGracePeriodSeconds }}
{{- if and $grace (lt $grace (int $needed)) }}
{{ $name }}.terminationGracePeriodSeconds is {{ $grace }}, but a pod needs {{ $needed }} s to end: set it to 0, and it is computed
{{- end }}
{{- $rolling := $plane.strategy.rollingUpdate | default dict }}
{{- if and (eq $plane.strategy.type "RollingUpdate") (has (toString $rolling.maxUnavailable) (list "0" "0%")) (has (toString $rolling.maxSurge) (list "0" "0%")) }}
{{ $name }}.strategy.rollingUpdate allows neither maxUnavailable nor maxSurge: set one of them above 0
{{- end }}
{{- end }}

{{/* Takes (list path values). */}}
{{- define "headgate.checks.service" -}}
{{- $path := index . 0 }}{{ $service := index . 1 }}
{{- $ports := 0 }}
{{- range $service.nodePorts }}{{ $ports = add $ports . }}{{ end }}
{{- $fixed := without (values $service.nodePorts | toStrings) "0" }}
{{- if ne (len $fixed) (len (uniq $fixed)) }}
{{ $path }}.nodePorts names one port twice
{{- end }}
{{- if eq $service.type "ClusterIP" }}
{{- if $ports }}
{{ $path }}.nodePorts needs {{ $path }}.type NodePort or LoadBalancer
{{- end }}
{{- if $service.externalTrafficPolicy }}
{{ $path }}.externalTrafficPolicy needs {{ $path }}.type NodePort or LoadBalancer
{{- end }}
{{- end }}
{{- if ne $service.type "LoadBalancer" }}
{{- if or $service.loadBalancerClass $service.loadBalancerSourceRanges }}
{{ $path }}.loadBalancerClass and loadBalancerSourceRanges need {{ $path }}.type LoadBalancer
{{- end }}
{{- end }}
{{- end }}

{{- define "headgate.checks.autoscaling" -}}
{{- if .enabled }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
dataplane.autoscaling.minReplicas ({{ .minReplicas }}) is above maxReplicas ({{ .maxReplicas }}): lower it, or raise maxReplicas
{{- end }}
{{- if not (or .targetCPUUtilizationPercentage .targetMemoryUtilizationPercentage .targetRequestsInFlight .metrics) }}
dataplane.autoscaling.enabled needs a target, such as targetCPUUtilizationPercentage; or set it to false
{{- end }}
{{- end }}
{{- end }}
