{{/* Name of the Secret with SECRET_KEY, DATAPLANE_TOKEN, SERVICE_TOKEN and ADMIN_PASSWORD. */}}
{{- define "headgate.secret" -}}
{{- .Values.existingSecret | default (include "headgate.name" (list . "secrets")) }}
{{- end }}

{{/* Whether the chart itself makes the values of that Secret: "true", or empty. */}}
{{- define "headgate.generatesSecrets" -}}
{{- if and (not .Values.existingSecret) (eq .Values.secrets.source "generate") }}true{{ end }}
{{- end }}

{{/*
"true" where objects of the cluster can be looked up; empty under `helm template` and with a dry run of the client. A
list has a kind even where it has no items. Whoever installs this chart may create ServiceAccounts, hence list them.
*/}}
{{- define "headgate.seesCluster" -}}
{{- if lookup "v1" "ServiceAccount" (include "headgate.namespace" .) "" }}true{{ end }}
{{- end }}

{{/* Fails where a generated value could not be kept: every rendering would make another one. */}}
{{- define "headgate.mustSeeCluster" -}}
{{- if not (include "headgate.seesCluster" .root) }}
{{- fail (printf "%s cannot be generated without a cluster (helm template, Argo CD, --dry-run=client), because every rendering would make new values. %s" .what .remedy) }}
{{- end }}
{{- end }}

{{/*
The generated values as JSON, encoded in base64. Those in the cluster are kept, with keys that others have added; missing ones are
made. Made once for all templates of a rendering, because the checksums of pods must match the Secret.
*/}}
{{- define "headgate.generatedSecrets" -}}
{{- if not (hasKey . "headgateSecrets") }}
{{- include "headgate.mustSeeCluster" (dict "root" . "what" "A Secret" "remedy" "Set existingSecret, or secrets.source: externalSecret.") }}
{{- $data := dig "data" (dict) (lookup "v1" "Secret" (include "headgate.namespace" .) (include "headgate.secret" .) | default dict) | default dict }}
{{- range $key, $length := dict "SECRET_KEY" 48 "DATAPLANE_TOKEN" 40 "SERVICE_TOKEN" 40 "ADMIN_PASSWORD" 20 }}
{{- if not (get $data $key) }}{{ $_ := set $data $key (randAlphaNum $length | b64enc) }}{{ end }}
{{- end }}
{{- $_ := set . "headgateSecrets" $data }}
{{- end }}
{{- toJson .headgateSecrets }}
{{- end }}

{{/*
Annotations of pods whose environment comes from the Secret, so that an upgrade after a change of it replaces them. Only
for the Secret of this chart: the content of others is not known here, or changes later than the release.
*/}}
{{- define "headgate.secretChecksum" -}}
{{- if include "headgate.generatesSecrets" . -}}
checksum/secrets: {{ include "headgate.generatedSecrets" . | sha256sum }}
{{- end }}
{{- end }}
