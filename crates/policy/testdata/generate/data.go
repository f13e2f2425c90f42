package main

import "sort"

// The types have the names, the fields and the nesting of image-automation-controller's and kyaml's, since templates
// name the fields and `{{ . }}` prints the nesting.

type namespacedName struct{ Namespace, Name string }

func (n namespacedName) String() string { return n.Namespace + "/" + n.Name }

type TypeMeta struct{ APIVersion, Kind string }

type NameMeta struct{ Name, Namespace string }

type ResourceIdentifier struct {
	TypeMeta
	NameMeta
}

type ObjectIdentifier struct{ ResourceIdentifier }

type Change struct{ OldValue, NewValue, Setter string }

type ObjectChanges map[ObjectIdentifier][]Change

type Result struct{ FileChanges map[string]ObjectChanges }

// Changes are distinct, in the order of files, objects and places; Flux leaves the order to a map.
func (r Result) Changes() (changes []Change) {
	seen := map[Change]bool{}
	for _, file := range sorted(r.FileChanges) {
		objects := r.FileChanges[file]
		var keys []ObjectIdentifier
		for key := range objects {
			keys = append(keys, key)
		}
		sort.Slice(keys, func(i, j int) bool { return less(keys[i], keys[j]) })
		for _, key := range keys {
			for _, change := range objects[key] {
				if !seen[change] {
					seen[change] = true
					changes = append(changes, change)
				}
			}
		}
	}
	return changes
}

func (r Result) Objects() ObjectChanges {
	objects := ObjectChanges{}
	for _, file := range sorted(r.FileChanges) {
		for key, changes := range r.FileChanges[file] {
			objects[key] = append(objects[key], changes...)
		}
	}
	return objects
}

func sorted(files map[string]ObjectChanges) (names []string) {
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func less(a, b ObjectIdentifier) bool {
	left := [4]string{a.APIVersion, a.Kind, a.Name, a.Namespace}
	right := [4]string{b.APIVersion, b.Kind, b.Name, b.Namespace}
	for part := range left {
		if left[part] != right[part] {
			return left[part] < right[part]
		}
	}
	return false
}

type TemplateData struct {
	AutomationObject namespacedName
	Changed          Result
	Values           map[string]string
}

func object(apiVersion, kind, name, namespace string) ObjectIdentifier {
	return ObjectIdentifier{ResourceIdentifier{TypeMeta{apiVersion, kind}, NameMeta{name, namespace}}}
}

// example is the commit of `example` in src/template/tests.rs.
func example(empty bool) TemplateData {
	data := TemplateData{
		AutomationObject: namespacedName{"flux-system", "apps"},
		Changed:          Result{map[string]ObjectChanges{}},
		Values: map[string]string{
			"cluster": "prod-1", "empty": "", "url": "https://x.example/a?b", "n": "3", "multi": "a\nb",
		},
	}
	if empty {
		return data
	}
	data.Changed.FileChanges["apps/backend/deploy.yaml"] = ObjectChanges{
		object("apps/v1", "Deployment", "backend", "prod"): {
			{"ghcr.io/o/backend:1.0.0", "ghcr.io/o/backend:1.1.0", "flux-system:backend"},
			{"1.0.0", "1.1.0", "flux-system:backend:tag"},
		},
		object("batch/v1", "CronJob", "job", "prod"): {
			{"ghcr.io/o/job:v1", "ghcr.io/o/job:v2@sha256:abc", "flux-system:job"},
		},
	}
	data.Changed.FileChanges["apps/web.yaml"] = ObjectChanges{
		object("", "Kustomization", "", ""): {{"", "2.0.0", "flux-system:web:tag"}},
	}
	return data
}
