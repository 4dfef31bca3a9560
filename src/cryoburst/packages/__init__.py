"""EM software packages: one folder each, behind the ``Package`` contract of the model."""
