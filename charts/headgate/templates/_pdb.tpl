{{/* The PodDisruptionBudget of a plane. Takes (list $ plane). */}}
{{- define "headgate.pdb" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}
{{- $pdb := (index $root.Values $component).pdb }}
{{- if $pdb.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "headgate.metadata" (dict "root" $root "name" (include "headgate.name" .) "component" $component) | nindent 2 }}
spec:
  {{- if $pdb.minAvailable }}
  minAvailable: {{ $pdb.minAvailable }}
  {{- else }}
  maxUnavailable: {{ $pdb.maxUnavailable }}
  {{- end }}
  unhealthyPodEvictionPolicy: {{ $pdb.unhealthyPodEvictionPolicy }}
  selector:
    matchLabels: {{- include "headgate.componentSelector" . | nindent 6 }}
{{- end }}
{{- end }}
