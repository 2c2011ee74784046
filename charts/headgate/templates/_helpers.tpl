{{/* The start of every object's name. The name of a release may have dots, that of a Service may not. */}}
{{- define "headgate.fullname" -}}
{{- $chart := default .Chart.Name .Values.nameOverride }}
{{- $release := replace "." "-" .Release.Name }}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $chart $release }}{{ $release | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" $release $chart | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* The namespace of the objects. */}}
{{- define "headgate.namespace" -}}
{{ .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{/* The name of an object, 63 characters at most. Takes (list $ suffix). */}}
{{- define "headgate.name" -}}
{{- $suffix := printf "-%s" (index . 1) }}
{{- $most := int (sub 63 (len $suffix)) }}
{{- printf "%s%s" (include "headgate.fullname" (index . 0) | trunc $most | trimSuffix "-") $suffix }}
{{- end }}

{{- define "headgate.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The labels by which a component's pods are found. Takes (list $ component). */}}
{{- define "headgate.componentSelector" -}}
{{ include "headgate.selector" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 | quote }}
{{- end }}

{{/* A version in a label, which must not have a "+": Flux adds the digest of the chart after one. */}}
{{- define "headgate.versionLabel" -}}
{{- regexReplaceAll "[^-A-Za-z0-9_.]" . "_" | trunc 63 | trimAll "-_." }}
{{- end }}

{{- define "headgate.labels" -}}
{{ include "headgate.selector" . }}
app.kubernetes.io/version: {{ include "headgate.versionLabel" .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ include "headgate.versionLabel" (printf "%s-%s" .Chart.Name .Chart.Version) | quote }}
{{- end }}

{{/* All labels of an object. Takes (list $ component labels); the component may be empty. */}}
{{- define "headgate.allLabels" -}}
{{- $root := index . 0 }}
{{- $own := include "headgate.labels" $root | fromYaml }}
{{- with index . 1 }}{{ $own = set $own "app.kubernetes.io/component" . }}{{ end }}
{{- merge $own (index . 2 | default dict) $root.Values.commonLabels | toYaml }}
{{- end }}

{{/*
The labels of a pod: none that a new chart changes, because each change of them replaces the pods, and cannot be made to
Jobs at all. Takes (list $ component labels).
*/}}
{{- define "headgate.podLabels" -}}
{{- $root := index . 0 }}
{{- $own := include "headgate.componentSelector" . | fromYaml }}
{{- merge $own (index . 2 | default dict) $root.Values.commonLabels | toYaml }}
{{- end }}

{{/*
metadata of an object. Takes a dict: root, name, component, labels, annotations; namespace, empty for an object of the
cluster, if it is not that of the release.
*/}}
{{- define "headgate.metadata" -}}
name: {{ .name | quote }}
{{- if not (hasKey . "namespace") }}
namespace: {{ include "headgate.namespace" .root | quote }}
{{- else if .namespace }}
namespace: {{ .namespace | quote }}
{{- end }}
labels: {{- include "headgate.allLabels" (list .root .component .labels) | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A number as text. Helm reads numbers as floating point, and would write 1000000 as 1e+06. */}}
{{- define "headgate.number" -}}
{{- if eq (float64 .) (int64 . | float64) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* The host that listens on all addresses of the pods. */}}
{{- define "headgate.anyHost" -}}
{{ eq .Values.ipFamily "IPv6" | ternary "[::]" "0.0.0.0" }}
{{- end }}

{{/* host:port by which data planes find the control planes: a headless Service, so that they see every one of them. */}}
{{- define "headgate.controlplaneAddress" -}}
{{ include "headgate.name" (list . "controlplane-headless") }}:50051
{{- end }}

{{/* http or https of the admin API. */}}
{{- define "headgate.adminScheme" -}}
{{ empty .Values.controlplane.adminTls.secret | ternary "http" "https" }}
{{- end }}

{{/* An image. Takes (list $ image). */}}
{{- define "headgate.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 }}
{{- $registry := $image.registry | default $root.Values.image.registry }}
{{- $name := empty $registry | ternary $image.repository (printf "%s/%s" (trimSuffix "/" $registry) $image.repository) }}
{{- if $image.digest }}{{ printf "%s@%s" $name $image.digest }}
{{- else }}{{ printf "%s:%s" $name ($image.tag | default $root.Chart.AppVersion) }}{{ end }}
{{- end }}

{{- define "headgate.imagePullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Name of a plane's ServiceAccount. Takes (list $ plane). */}}
{{- define "headgate.serviceAccount" -}}
{{- $plane := index . 1 }}
{{- $account := (index (index . 0).Values $plane).serviceAccount }}
{{- if $account.create }}{{ $account.name | default (include "headgate.name" (list (index . 0) $plane)) }}
{{- else }}{{ $account.name | default "default" }}{{ end }}
{{- end }}

{{- define "headgate.fromSecret" -}}
- name: {{ .key }}
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .key | quote }}}}
{{- end }}

{{/* Name of the volume that is mounted in this folder of /etc/headgate: a Secret's name may be too long for it. */}}
{{- define "headgate.volume" -}}
{{- hasPrefix "tls/" . | ternary (printf "tls-%s" (sha256sum . | trunc 10)) (printf "%s-tls" .) }}
{{- end }}

{{/* The port of a URL without path. */}}
{{- define "headgate.portOf" -}}
{{- regexFind "[0-9]+$" . }}
{{- end }}
