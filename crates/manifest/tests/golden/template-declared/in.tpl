{{- if .Values.web.enabled }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "web.fullname" . }}
  labels:
    {{- include "web.labels" . | nindent 4 }}
spec:
  template:
    spec:
      {{- with .Values.tolerations }}
      tolerations: {{ toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: web
          image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
          env:
            - {name: VERSION, value: x}
            - name: V
              value: "1.0.0" # {"$imagepolicy": "apps:app:tag"}
        - image: 'ghcr.io/org/app:1.0.0'    # {"$imagepolicy": "apps:app"} 
{{- end }}
