{{- range .Values.apps }}
image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
tag: 1.0.0 # {"$imagepolicy": "apps:app:tag"}
image: "{{ .repository }}:1.0" # {"$imagepolicy": "apps:app"}
{{ .key }}: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
image: {{ .image }} # {"$imagepolicy": "apps:app"}
{{/* image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
*/}}
args: {{ printf "%s"
  image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
}}
script: |
  image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
{{- if .x }}
  image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}

  {{- end }}
  image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
other: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
list:
  - text: >-
      image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
    image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
  - |2
    image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
  - image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
key: {a: b, c: d} # {"$imagepolicy": "apps:app"}
empty: # {"$imagepolicy": "apps:app"}
block: | # {"$imagepolicy": "apps:app"}
  text
# {"$imagepolicy": "apps:app"}
below: ghcr.io/org/app:1.0.0
# image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
alias: *x # {"$imagepolicy": "apps:app"}
	x: y # {"$imagepolicy": "apps:app"}
{{ end }}
