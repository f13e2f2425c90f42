a: b:1 # {"$imagepolicy": "apps:app"}
