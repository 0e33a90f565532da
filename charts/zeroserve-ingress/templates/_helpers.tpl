{{/* Names, labels and the parts that several Pods share. */}}

{{- define "zeroserve.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "zeroserve.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains "zeroserve" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-zeroserve" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "zeroserve.operator" -}}{{ include "zeroserve.fullname" . }}-operator{{- end -}}
{{- define "zeroserve.dataplane" -}}{{ include "zeroserve.fullname" . }}-dataplane{{- end -}}

{{/* Selector labels; called with (list $ "component"). They never change, as selectors are immutable. */}}
{{- define "zeroserve.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "zeroserve.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* All labels; called with (list $ "component"). */}}
{{- define "zeroserve.labels" -}}
{{- $root := index . 0 -}}
{{ include "zeroserve.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: zeroserve-ingress
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Image reference; called with (list $ "operator"). */}}
{{- define "zeroserve.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- $repository := $image.repository -}}
{{- with $root.Values.images.registry -}}{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}{{- end -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* What Pod Security "restricted" asks of a Pod and of a container. */}}
{{- define "zeroserve.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "zeroserve.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "zeroserve.pullSecrets" -}}
{{- with .Values.images.pullSecrets -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where a Pod may run; called with (dict "where" VALUES). */}}
{{- define "zeroserve.placement" -}}
{{- $where := dict -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" -}}
{{- with index $.where $key }}{{ $_ := set $where $key . }}{{ end -}}
{{- end -}}
{{- with $where }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* Spread over the nodes; called with (list $ "component" CONSTRAINTS). */}}
{{- define "zeroserve.spread" -}}
topologySpreadConstraints:
{{- if index . 2 }}
{{- toYaml (index . 2) | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "zeroserve.selector" (list (index . 0) (index . 1)) | nindent 8 }}
{{- end }}
{{- end -}}

{{/* OTEL_RESOURCE_ATTRIBUTES: values in percent encoding; $(NAME) is a variable of the container. */}}
{{- define "zeroserve.resourceAttributes" -}}
k8s.node.name=$(NODE_NAME),k8s.pod.name=$(POD_NAME)
{{- range $name, $value := .resourceAttributes -}}
,{{ $name }}={{ $value | toString | urlquery | replace "+" "%20" }}
{{- end }}
{{- end -}}

{{/* Values that the schema cannot judge; ends the rendering with what is wrong. */}}
{{- define "zeroserve.check" -}}
{{- range $protocol := list "tcp" "udp" -}}
{{- range $port, $_ := index $.Values $protocol -}}
{{- $number := int $port -}}
{{- if gt $number 65535 -}}{{- fail (printf "%s.%s: ports end at 65535" $protocol $port) -}}{{- end -}}
{{- if and (gt $number 20000) (lt $number 21024) -}}
{{- fail (printf "%s.%s: 20001 to 21023 stand for the ports below 1024 in Pods: choose another one" $protocol $port) -}}
{{- end -}}
{{- if and (eq $protocol "tcp") (has $number (list 80 443 8080 8443 9181)) -}}
{{- fail (printf "tcp.%s: the data plane has 80, 443, 8080, 8443 and 9181 itself: choose another port" $port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $part := list "operator" "dataplane" -}}
{{- range $label, $_ := (index $.Values $part).podLabels -}}
{{- if has $label (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component") -}}
{{- fail (printf "%s.podLabels: %s is the chart's own, by which it finds its Pods" $part $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
