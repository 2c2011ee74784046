{{/*
Certificates come in two groups, each with an authority of its own, because an authority admits everything that it
signs: planes (the gRPC port and its clients) and etcd (its members and the control planes).
*/}}
{{- define "headgate.hostNames" -}}
{{- $root := .root }}
{{- $names := list }}
{{- range .services }}
{{- $names = concat $names (list . (printf "%s.%s" . (include "headgate.namespace" $root)) (printf "%s.%s.svc" . (include "headgate.namespace" $root)) (printf "%s.%s.svc.%s" . (include "headgate.namespace" $root) $root.Values.clusterDomain)) }}
{{- end }}
{{- toJson $names }}
{{- end }}

{{/* Name of the Secret of the gRPC port's certificate. */}}
{{- define "headgate.controlplaneTlsSecret" -}}
{{- .Values.grpcTls.controlplaneSecret | default (include "headgate.name" (list . "controlplane-tls")) }}
{{- end }}

{{/* Name of the Secret of the data planes' client certificate; without one, of the authority that they trust. */}}
{{- define "headgate.dataplaneTlsSecret" -}}
{{- $own := ternary (include "headgate.name" (list . "dataplane-tls")) (include "headgate.controlplaneTlsSecret" .) .Values.grpcTls.clientCertificates }}
{{- .Values.grpcTls.dataplaneSecret | default $own }}
{{- end }}

{{/* Name of the Secret of the certificate with which control planes reach etcd; empty without TLS. */}}
{{- define "headgate.etcdClientTlsSecret" -}}
{{- if not .Values.etcd.enabled }}{{ .Values.etcd.tlsSecret }}
{{- else if .Values.etcd.tls.enabled }}
{{- .Values.etcd.tls.clientSecret | default (include "headgate.name" (list . "etcd-client-tls")) }}
{{- end }}
{{- end }}

{{/* Name of the Secret of the members' certificate. */}}
{{- define "headgate.etcdTlsSecret" -}}
{{- .Values.etcd.tls.serverSecret | default (include "headgate.name" (list . "etcd-tls")) }}
{{- end }}

{{/*
The groups as JSON: the name of the authority's Secret, an issuer in its place, and the certificates to make: name of the
Secret, dns, ips, uris. A group without certificates is not there: it is off, or all of its Secrets are the user's.
*/}}
{{- define "headgate.certificateGroups" -}}
{{- $identity := printf "spiffe://%s/headgate" .Values.certificates.trustDomain }}
{{- $groups := list }}
{{- with .Values.grpcTls }}
{{- if .enabled }}
{{- $names := include "headgate.hostNames" (dict "root" $ "services" (list (include "headgate.name" (list $ "controlplane")) (include "headgate.name" (list $ "controlplane-headless")))) | fromJsonArray }}
{{- $leaves := list }}
{{- if not .controlplaneSecret }}
{{- $leaves = append $leaves (dict "name" (include "headgate.controlplaneTlsSecret" $) "dns" (concat $names (list "localhost") .extraNames) "ips" (list "127.0.0.1") "uris" list) }}
{{- end }}
{{- if and .clientCertificates (not .dataplaneSecret) }}
{{- $leaves = append $leaves (dict "name" (include "headgate.dataplaneTlsSecret" $) "dns" (list (include "headgate.name" (list $ "dataplane"))) "ips" list "uris" (list (printf "%s/dataplane" $identity))) }}
{{- end }}
{{- range .services }}
{{- $leaves = append $leaves (dict "name" (include "headgate.name" (list $ (printf "service-%s-tls" .))) "dns" (list (printf "%s.service" .)) "ips" list "uris" (list (printf "%s/service/%s" $identity .))) }}
{{- end }}
{{- if $leaves }}{{ $groups = append $groups (dict "ca" (include "headgate.name" (list $ "grpc-ca")) "issuer" .issuerRef "leaves" $leaves) }}{{ end }}
{{- end }}
{{- end }}
{{- with .Values.etcd }}
{{- if and .enabled .tls.enabled }}
{{- $etcd := include "headgate.etcdName" $ }}
{{- $services := list (printf "%s-client" $etcd) }}
{{- range until 5 }}{{ $services = append $services (printf "%s-%d.%s" $etcd . $etcd) }}{{ end }}
{{- $names := include "headgate.hostNames" (dict "root" $ "services" $services) | fromJsonArray }}
{{- $leaves := list }}
{{- if not .tls.serverSecret }}
{{- $leaves = append $leaves (dict "name" (include "headgate.etcdTlsSecret" $) "dns" (append $names "localhost") "ips" (list "127.0.0.1") "uris" list) }}
{{- end }}
{{- if not .tls.clientSecret }}
{{- $leaves = append $leaves (dict "name" (include "headgate.etcdClientTlsSecret" $) "dns" (list (include "headgate.name" (list $ "controlplane"))) "ips" list "uris" list) }}
{{- end }}
{{- if $leaves }}{{ $groups = append $groups (dict "ca" (include "headgate.name" (list $ "etcd-ca")) "issuer" .tls.issuerRef "leaves" $leaves) }}{{ end }}
{{- end }}
{{- end }}
{{- toJson $groups }}
{{- end }}

{{/*
Data of the authority's Secret, in base64. It is made once: with a new one, no certificate of the old one would be valid,
and it lasts for ten years.
*/}}
{{- define "headgate.authority" -}}
{{- $found := dig "data" (dict) (lookup "v1" "Secret" (include "headgate.namespace" .root) .name | default dict) | default dict }}
{{- if and (get $found "tls.crt") (get $found "tls.key") }}
{{- toJson (pick $found "tls.crt" "tls.key") }}
{{- else }}
{{- $made := genCA .name 3650 }}
{{- toJson (dict "tls.crt" (b64enc $made.Cert) "tls.key" (b64enc $made.Key)) }}
{{- end }}
{{- end }}

{{/*
One certificate: data and annotations of its Secret. That in the cluster is kept while it has the same names and the same
authority, and is valid for longer than renewDays. The templates cannot read a certificate, hence the annotations.
*/}}
{{- define "headgate.leaf" -}}
{{- $days := .root.Values.certificates.days | int64 }}
{{- $marks := dict "headgate/names" (concat .leaf.dns .leaf.ips | join "," | sha256sum | trunc 16) "headgate/authority" (sha256sum (index .authority "tls.crt") | trunc 16) }}
{{- $found := lookup "v1" "Secret" (include "headgate.namespace" .root) .leaf.name | default dict }}
{{- $had := dig "metadata" "annotations" (dict) $found | default dict }}
{{- $expires := get $had "headgate/not-after" | default "0" | int64 }}
{{- $left := div (sub $expires (now | unixEpoch | int64)) 86400 }}
{{- $same := and (eq (get $had "headgate/names") (get $marks "headgate/names")) (eq (get $had "headgate/authority") (get $marks "headgate/authority")) }}
{{- if and $same (gt $left (.root.Values.certificates.renewDays | int64)) (get ($found.data | default dict) "tls.key") }}
{{- toJson (dict "annotations" (pick $had "headgate/names" "headgate/authority" "headgate/not-after") "data" (pick $found.data "tls.crt" "tls.key" "ca.crt")) }}
{{- else }}
{{- $ca := buildCustomCert (index .authority "tls.crt") (index .authority "tls.key") }}
{{- $made := genSignedCert (first .leaf.dns | trunc 64) .leaf.ips .leaf.dns ($days | int) $ca }}
{{- $_ := set $marks "headgate/not-after" (add (now | unixEpoch | int64) (mul $days 86400) | toString) }}
{{- toJson (dict "annotations" $marks "data" (dict "tls.crt" (b64enc $made.Cert) "tls.key" (b64enc $made.Key) "ca.crt" (index .authority "tls.crt"))) }}
{{- end }}
{{- end }}
