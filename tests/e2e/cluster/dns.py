"""CoreDNS as the cluster's DNS.

Nothing is forwarded: there is no way out of the namespace, so any other name is "no such domain", at once.
"""

from __future__ import annotations

from .places import DNS_IP

IMAGE = "zeroserve.test/coredns:1"
MANIFESTS = f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: coredns, namespace: kube-system}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: system:coredns}}
rules:
- {{apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: system:coredns}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:coredns}}
subjects: [{{kind: ServiceAccount, name: coredns, namespace: kube-system}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: coredns, namespace: kube-system}}
data:
  # Two blocks: in one, "template" would come before "kubernetes" whatever the order here. The cache is
  # short, as tests change things and then look.
  Corefile: |
    cluster.local in-addr.arpa {{
      errors
      health
      ready
      kubernetes cluster.local in-addr.arpa
      cache 5
    }}
    . {{
      template ANY ANY {{
        rcode NXDOMAIN
      }}
    }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: coredns, namespace: kube-system, labels: {{k8s-app: kube-dns}}}}
spec:
  selector: {{matchLabels: {{k8s-app: kube-dns}}}}
  template:
    metadata: {{labels: {{k8s-app: kube-dns}}}}
    spec:
      serviceAccountName: coredns
      dnsPolicy: Default
      securityContext:
        runAsUser: 65532
        runAsNonRoot: true
        seccompProfile: {{type: RuntimeDefault}}
        sysctls: [{{name: net.ipv4.ip_unprivileged_port_start, value: "0"}}]
      containers:
      - name: coredns
        image: {IMAGE}
        args: [-conf, /etc/coredns/Corefile]
        readinessProbe: {{httpGet: {{path: /ready, port: 8181}}, periodSeconds: 1}}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {{drop: [ALL]}}
        volumeMounts: [{{name: conf, mountPath: /etc/coredns}}]
      volumes: [{{name: conf, configMap: {{name: coredns}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system, labels: {{k8s-app: kube-dns}}}}
spec:
  clusterIP: {DNS_IP}
  selector: {{k8s-app: kube-dns}}
  ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
"""
