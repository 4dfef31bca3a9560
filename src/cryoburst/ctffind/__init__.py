"""`cryoburst-ctffind`: a CTF estimator that speaks CTFFIND 4.1's dialogue, for where CTFFIND itself can't be had.

Not CTFFIND: an independent fit. Modules: `dialogue` (the questions), `spectrum` (image to polar amplitude spectrum),
`fit` (defocus, astigmatism, phase shift, resolution), `files` (what is written), `main` (the program).
"""
