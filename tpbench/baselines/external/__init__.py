"""Methods that run in an environment of their own: one adapter, one YAML spec per method."""
