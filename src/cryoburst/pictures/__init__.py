"""Pictures of what a job makes, from the values of ``cryoburst.model.course``. matplotlib is imported when the first
one is drawn.

Public face: `sheet.picture` and `sheet.save` for any panel; `classes.draw`, `ctf.draw`, `drift.draw`, `fsc.draw`,
`picks.draw` and `slices.draw` return a figure, which `paper.save` writes; `page.render` makes the one-page summary.
"""
