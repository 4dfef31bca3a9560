"""Cryo-EM data sets with known truth: movies of a real macromolecule, made by the physics that images it.

Public face: `Settings`, `write`. Modules: `optics` (the microscope's formulas), `specimen` (atoms to potential),
`movie` (one micrograph), `dataset` (the files).
"""
