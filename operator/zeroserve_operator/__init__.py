"""The cluster side: Kubernetes objects in, versioned snapshots and object statuses out."""
