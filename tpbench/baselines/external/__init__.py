"""Methods that run in their own environment: one adapter, and one YAML spec per method."""
