{{/* Name of the StatefulSet. Kubernetes adds a hash to it in a label of the pods, which is limited to 63 characters. */}}
{{- define "headgate.etcdName" -}}
{{- printf "%s-etcd" (include "headgate.fullname" . | trunc 47 | trimSuffix "-") }}
{{- end }}

{{/* Name of a CronJob, which is limited to 52 characters. Takes (list $ job). */}}
{{- define "headgate.etcdJob" -}}
{{- $suffix := printf "-etcd-%s" (index . 1) }}
{{- printf "%s%s" (include "headgate.fullname" (index . 0) | trunc (int (sub 52 (len $suffix))) | trimSuffix "-") $suffix }}
{{- end }}

{{/* Name of the claim of backups. */}}
{{- define "headgate.etcdBackups" -}}
{{- include "headgate.etcdName" . }}-backups
{{- end }}

{{- define "headgate.etcdScheme" -}}
{{- ternary "https" "http" .Values.etcd.tls.enabled }}
{{- end }}

{{/* Host name of the member of this number, or of $(POD_NAME). */}}
{{- define "headgate.etcdHost" -}}
{{- printf "%s.%s.%s.svc" .member (include "headgate.etcdName" .root) (include "headgate.namespace" .root) }}
{{- end }}

{{/* Comma separated URLs of the members, for the control planes. */}}
{{- define "headgate.etcdEndpoints" -}}
{{- if .Values.etcd.enabled }}
{{- $urls := list }}
{{- range until (int .Values.etcd.replicas) }}
{{- $host := include "headgate.etcdHost" (dict "root" $ "member" (printf "%s-%d" (include "headgate.etcdName" $) .)) }}
{{- $urls = append $urls (printf "%s://%s:2379" (include "headgate.etcdScheme" $) $host) }}
{{- end }}
{{- join "," $urls }}
{{- else }}
{{- join "," .Values.etcd.endpoints }}
{{- end }}
{{- end }}

{{/* Whether control planes have a client certificate for etcd: "true", or empty. */}}
{{- define "headgate.etcdClientCertificate" -}}
{{- if or .Values.etcd.enabled .Values.etcd.clientCertificate }}true{{ end }}
{{- end }}

{{/* The identity of the cluster comes from it. A restored cluster must have another, so that clients notice. */}}
{{- define "headgate.etcdToken" -}}
{{- printf "%s/%s/%s" (include "headgate.namespace" .) (include "headgate.etcdName" .) .Values.etcd.dataDir }}
{{- end }}

{{- define "headgate.etcdInitialCluster" -}}
{{- $members := list }}
{{- range until (int .Values.etcd.replicas) }}
{{- $name := printf "%s-%d" (include "headgate.etcdName" $) . }}
{{- $members = append $members (printf "%s=%s://%s:2380" $name (include "headgate.etcdScheme" $) (include "headgate.etcdHost" (dict "root" $ "member" $name))) }}
{{- end }}
{{- join "," $members }}
{{- end }}

{{/* Pods that may use etcd's client port: the members, and the jobs with this label. */}}
{{- define "headgate.etcdClientLabel" -}}
headgate/etcd-client: {{ include "headgate.etcdName" . | quote }}
{{- end }}

{{- define "headgate.etcdImage" -}}
{{- include "headgate.image" (list . .Values.etcd.image) }}
{{- end }}

{{/* Environment of etcdctl: also for `kubectl exec … -- etcdctl member list`. */}}
{{- define "headgate.etcdctlEnv" -}}
- {name: ETCDCTL_API, value: "3"}
- {name: ETCDCTL_ENDPOINTS, value: {{ .endpoint | quote }}}
{{- if .root.Values.etcd.tls.enabled }}
- {name: ETCDCTL_CACERT, value: /etc/etcd/tls/ca.crt}
- {name: ETCDCTL_CERT, value: /etc/etcd/tls/tls.crt}
- {name: ETCDCTL_KEY, value: /etc/etcd/tls/tls.key}
{{- end }}
{{- end }}

{{- define "headgate.etcdClientUrl" -}}
{{- printf "%s://%s-client.%s.svc:2379" (include "headgate.etcdScheme" .) (include "headgate.etcdName" .) (include "headgate.namespace" .) }}
{{- end }}

{{- define "headgate.etcdTlsMount" -}}
{{- if .Values.etcd.tls.enabled -}}
- {name: tls, mountPath: /etc/etcd/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "headgate.etcdTlsVolume" -}}
{{- if .root.Values.etcd.tls.enabled -}}
- name: tls
  secret: {secretName: {{ .secret | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{/* What every pod of etcd and of its jobs has. */}}
{{- define "headgate.etcdPod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- toYaml .Values.etcd.podSecurityContext | nindent 2 }}
{{- include "headgate.imagePullSecrets" . }}
{{- with .Values.etcd.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.etcd.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.etcd.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The volume of backups. */}}
{{- define "headgate.etcdBackupVolume" -}}
- name: backups
  {{- if .Values.etcd.backup.volume }}
  {{- toYaml .Values.etcd.backup.volume | nindent 2 }}
  {{- else }}
  persistentVolumeClaim: {claimName: {{ include "headgate.etcdBackups" . | quote }}}
  {{- end }}
{{- end }}

{{/* Spec of a PersistentVolumeClaim in the storage class of etcd. */}}
{{- define "headgate.etcdClaim" -}}
accessModes: {{ toJson .modes }}
{{- with .root.Values.etcd.storage.className }}
storageClassName: {{ . | quote }}
{{- end }}
resources: {requests: {storage: {{ .size | quote }}}}
{{- end }}
