"""Pictures of a RELION project's results, as PNG files. matplotlib is imported when the first one is drawn.

Public face: `classes.draw`, `ctf.draw`, `drift.draw`, `fsc.draw`, `picks.draw`.
"""
