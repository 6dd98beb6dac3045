"""tofu_jax: a foundation model for multi-modal knowledge graphs (after TOFU, arXiv 2602.15896)."""
