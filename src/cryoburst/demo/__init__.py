"""`cryoburst demo`: a whole RELION project, from simulated movies to a map, every job sent by cryoburst.

Modules: `steps` (the table of jobs), `project` (RELION's project folder), `queue` (where jobs are sent),
`report` (table and pictures), `run` (the driver).
"""
