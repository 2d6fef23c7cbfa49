"""Published trackers as model bundles."""
