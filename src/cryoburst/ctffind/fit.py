"""Fit the CTF to a polar amplitude spectrum.

Noise dominates a micrograph's spectrum, so its amplitude is a smooth background times 1 + a small signal that goes as
CTF² (not |CTF|): the fit correlates amplitude / background − 1 with −cos 2χ, χ being the argument of the CTF's sine.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cryoburst.model.errors import BadInput
from cryoburst.simulate.optics import Array, Defocus, Optics, phase

from .dialogue import Search
from .spectrum import Polar

GRID = 150.0  # Å, largest step of the first search
BEST = 3  # first guesses that are followed
GOOD = 0.5  # correlation of profile and fit down to which rings count as fitted (CTFFIND's rule)


@dataclass(frozen=True)
class Estimate:
    """defocus in Å, phase shift in radians, score: correlation of data and fit, resolution in Å.

    Profiles along rings of frequency (Å⁻¹): the mean amplitude, the same with the astigmatism taken out, |CTF| of the
    fit, and their running correlation.
    """

    defocus: Defocus
    phase_shift: float
    score: float
    resolution: float
    frequency: Array
    average: Array
    straight: Array
    fitted: Array
    quality: Array


def fit(spectrum: Polar, optics: Optics, search: Search) -> Estimate:
    """Return the defocus that fits best; some 0.3 s. BadInput when the resolutions leave too few rings."""
    rings = spectrum.amplitude.shape[1]
    low = max(2, int(np.ceil(1 / (search.lowest_resolution * spectrum.step))))
    high = min(int(0.98 * rings), int(1 / (search.highest_resolution * spectrum.step)))
    if high - low < 8:
        raise BadInput("The resolutions leave fewer than 8 rings of the spectrum to fit")

    middle = 0.5 * (search.least_defocus + search.most_defocus)
    guess = min(max(abs(middle), 5000.0), 15000.0)
    signal = contrast(spectrum, optics, guess)
    for start in _first(signal, spectrum, optics, search, (low, high))[:1]:
        signal = contrast(spectrum, optics, start[0])
    starts = _first(signal, spectrum, optics, search, (low, high))
    target = _Target(signal, spectrum, optics, search, (low, high), starts[0][0])
    best = min((target.follow(start) for start in starts), key=target.cost)
    # Once more, with the background averaged over whole rings of the defocus found.
    signal = contrast(spectrum, optics, best[0])
    target = _Target(signal, spectrum, optics, search, (low, high), float(best[0]))
    best = target.follow((float(best[0]), float(best[3])), best)
    mean, cos, sin, shift = (float(value) for value in best)
    half = float(np.hypot(cos, sin))
    azimuth = float(np.rad2deg(0.5 * np.arctan2(sin, cos)))
    defocus = Defocus(mean + half, mean - half, azimuth)
    found = Estimate(defocus, shift, target.score(best), 999.0, *([np.zeros(rings)] * 5))
    return _profiles(found, spectrum, optics, signal, low)


def contrast(spectrum: Polar, optics: Optics, defocus: float) -> Array:
    """Amplitude / background − 1, (sectors, rings), weighted towards where rings are strong.

    The background is the mean over one Thon ring of this defocus (Å) to either side: rings are evenly spaced in k²,
    1 / (λ defocus) apart, so that a whole ring averages to no signal.
    """
    rings = spectrum.amplitude.shape[1]
    known = np.where(np.isfinite(spectrum.amplitude), spectrum.amplitude, 0.0)
    there = np.isfinite(spectrum.amplitude).astype(float)
    radius = np.arange(rings)
    period = 1 / (optics.wavelength * max(abs(defocus), 2000.0)) / spectrum.step**2
    first = np.sqrt(np.maximum(radius**2 - 0.5 * period, 0))
    last = np.sqrt(radius**2 + 0.5 * period)
    # No narrower than 5 rings; at low frequency one-sided windows would tilt the background: keep them centred.
    reach = np.maximum(np.minimum(last - radius, np.maximum(radius - first, last - radius)), 2.0)
    sums, counts = (np.concatenate([np.zeros((len(a), 1)), np.cumsum(a, axis=1)], axis=1) for a in (known, there))
    begin = np.maximum(np.rint(radius - reach).astype(int), 1)
    end = np.minimum(np.rint(radius + reach).astype(int) + 1, rings)
    begin, end = np.minimum(begin, rings - 2), np.maximum(end, 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        background = (sums[:, end] - sums[:, begin]) / (counts[:, end] - counts[:, begin])
        ratio = np.where(there > 0, known / background - 1, 0.0)
    return np.nan_to_num(ratio, nan=0.0, posinf=0.0, neginf=0.0)


def _first(
    signal: Array, spectrum: Polar, optics: Optics, search: Search, rings: tuple[int, int]
) -> list[tuple[float, float]]:
    """Best (defocus, phase shift) without astigmatism, from the mean over sectors: up to BEST separate peaks."""
    inside = slice(*rings)
    profile = signal[:, inside].mean(axis=0)
    spread = np.sqrt(_smooth(profile**2, 15)) + 1e-9
    profile = profile / spread
    k2 = (np.arange(*rings) * spectrum.step) ** 2
    step = min(search.step, GRID)
    grid = np.arange(search.least_defocus, search.most_defocus + step, step)
    shifts = np.array([optics.phase_shift])
    if search.phase_shifts:
        low, high, spacing = search.phase_shifts
        shifts = np.arange(low, high + 0.5 * spacing, spacing)
    scores = np.empty((len(shifts), len(grid)))
    for row, shift in enumerate(shifts):
        chi = phase(replace(optics, phase_shift=float(shift)), grid[:, None], k2[None, :])
        model = -np.cos(2 * chi)
        model -= model.mean(axis=1, keepdims=True)
        scores[row] = model @ profile / np.sqrt((model**2).sum(axis=1) + 1e-12)
    result: list[tuple[float, float]] = []
    for flat in np.argsort(scores, axis=None)[::-1]:
        row, column = np.unravel_index(flat, scores.shape)
        place = float(grid[column])
        if all(abs(place - other) > 800 for other, _ in result):
            result.append((place, float(shifts[row])))
        if len(result) == BEST:
            break
    return result


def _smooth(values: Array, width: int) -> Array:
    """Running mean along the last axis, edges repeated."""
    padded = np.pad(values, width, mode="edge")
    kernel = np.ones(2 * width + 1) / (2 * width + 1)
    return np.convolve(padded, kernel, mode="valid")


def _rise(chi: Array) -> Array:
    """0 up to the end of the first ring, 1 half a ring on: what lies below is the specimen's own shape."""
    return np.clip((np.abs(chi) - np.pi) / (0.5 * np.pi), 0.01, 1.0)


class _Target:
    """Cost of (mean defocus, half difference × cos 2φ, half difference × sin 2φ, phase shift)."""

    def __init__(
        self, signal: Array, spectrum: Polar, optics: Optics, search: Search, rings: tuple[int, int], defocus: float
    ) -> None:
        chi = phase(optics, defocus, (np.arange(signal.shape[1]) * spectrum.step) ** 2)
        use = np.zeros(signal.shape, bool)
        use[:, slice(*rings)] = True
        use &= np.isfinite(spectrum.amplitude)
        # Every ring counts alike, as far as it stands out of its noise: the spectrum falls off so steeply at low
        # frequency that its first rings, weighed by their strength, would pull the defocus up by 100 Å.
        profile = signal.mean(axis=0)
        power = _smooth(profile**2, 12) + 1e-18
        noise = _smooth(signal.var(axis=0) / len(signal), 12)
        trust = np.clip(1 - noise / power, 0.02, 1.0) * _rise(chi)
        pixels = np.sqrt(np.arange(signal.shape[1])) * trust
        self.data = (signal * (pixels / np.sqrt(power)))[use]
        self.envelope = np.broadcast_to(pixels, signal.shape)[use]
        self.data_norm = float(np.sqrt((self.data**2).sum())) + 1e-30
        self.k2 = spectrum.k2[use]
        angle = np.broadcast_to(spectrum.angle[:, None], signal.shape)[use]
        self.cos, self.sin = np.cos(2 * angle), np.sin(2 * angle)
        self.optics, self.search = optics, search

    def score(self, at: Array) -> float:
        """Correlation of data and model."""
        defocus = at[0] + at[1] * self.cos + at[2] * self.sin
        optics = replace(self.optics, phase_shift=float(at[3]))
        model = -np.cos(2 * phase(optics, defocus, self.k2)) * self.envelope
        norm = float(np.sqrt((model**2).sum())) + 1e-30
        return float(self.data @ model) / norm / self.data_norm

    def cost(self, at: Array) -> float:
        """Minus log likelihood of the fit, with the prior on astigmatism that the dialogue asks for."""
        search = self.search
        score = min(max(self.score(at), 0.0), 0.999999)
        cost = 0.5 * len(self.data) * np.log1p(-score * score) if score > 0 else 1e3
        # |U − V| is twice the half difference.
        cost += 0.5 * (2 * np.hypot(at[1], at[2]) / search.tolerated_astigmatism) ** 2
        outside = max(search.least_defocus - at[0], at[0] - search.most_defocus, 0.0)
        if search.phase_shifts:
            outside += 1e3 * max(search.phase_shifts[0] - at[3], at[3] - search.phase_shifts[1], 0.0)
        return float(cost + 0.1 * outside**2)

    def follow(self, start: tuple[float, float], at: Array | None = None) -> Array:
        """Return the best parameters near a first guess (defocus, phase shift), or near `at`."""
        free = [0, 1, 2]
        if self.search.known_astigmatism:
            free = [0]
        if self.search.phase_shifts:
            free.append(3)
        scale = np.array([100.0, 150.0, 150.0, 0.1])
        centre = np.array([start[0], *self._known(), start[1]]) if at is None else at

        def cost(values: Array) -> float:
            point = centre.copy()
            point[free] += values * scale[free]
            return self.cost(point)

        firsts = [np.zeros(len(free))]
        if at is None and not self.search.known_astigmatism:
            for cos, sin in ((1.0, 0.0), (-0.5, 0.87), (-0.5, -0.87)):
                first = np.zeros(len(free))
                first[1:3] = cos, sin
                firsts.append(first)
        found = min((simplex(cost, first) for first in firsts), key=cost)
        point = centre.copy()
        point[free] += found * scale[free]
        return point

    def _known(self) -> tuple[float, float]:
        """Half difference × cos and sin of the astigmatism that is given, or none."""
        if not self.search.known_astigmatism:
            return 0.0, 0.0
        size, angle = self.search.known_astigmatism
        double = 2 * np.deg2rad(angle)
        return 0.5 * size * float(np.cos(double)), 0.5 * size * float(np.sin(double))


def simplex(cost: Callable[[Array], float], start: Array, tolerance: float = 2e-3, most: int = 250) -> Array:
    """Minimise by Nelder & Mead 1965 from a start, first steps of 1; ours, for scipy.optimize takes 1 s to import."""
    points = [start, *(start + step for step in np.eye(len(start)))]
    values = [cost(point) for point in points]
    for _ in range(most):
        order = np.argsort(values)
        points, values = [points[i] for i in order], [values[i] for i in order]
        if max(float(np.abs(point - points[0]).max()) for point in points) < tolerance:
            break
        centre = np.mean(points[:-1], axis=0)
        reflected = 2 * centre - points[-1]
        value = cost(reflected)
        if value < values[0]:
            further = 3 * centre - 2 * points[-1]
            better = cost(further)
            points[-1], values[-1] = (further, better) if better < value else (reflected, value)
        elif value < values[-2]:
            points[-1], values[-1] = reflected, value
        else:
            inner = 0.5 * (centre + (reflected if value < values[-1] else points[-1]))
            better = cost(inner)
            if better < min(value, values[-1]):
                points[-1], values[-1] = inner, better
            else:
                points = [points[0], *(0.5 * (points[0] + point) for point in points[1:])]
                values = [values[0], *(cost(point) for point in points[1:])]
    return points[int(np.argmin(values))]


def _profiles(found: Estimate, spectrum: Polar, optics: Optics, signal: Array, low: int) -> Estimate:
    """Fill in the profiles, and the spacing up to which rings are fitted."""
    optics = replace(optics, phase_shift=found.phase_shift)
    rings = signal.shape[1]
    frequency = np.arange(rings) * spectrum.step
    with np.errstate(invalid="ignore"):
        average = np.nan_to_num(np.nanmean(np.where(np.isfinite(spectrum.amplitude), spectrum.amplitude, 0.0), axis=0))
    mean = 0.5 * (found.defocus.u + found.defocus.v)
    # A bin of another defocus shows, at frequency k, what the mean defocus shows at k sqrt(defocus / mean).
    ratio = found.defocus.along(spectrum.angle) / (mean if abs(mean) > 1 else 1.0)
    straight, flat = np.zeros(rings), np.zeros(rings)
    for sector, stretch in enumerate(np.sqrt(np.clip(ratio, 0.25, 4.0))):
        there = np.isfinite(spectrum.amplitude[sector])
        source = frequency[there] * stretch
        straight += np.interp(frequency, source, spectrum.amplitude[sector][there]) / len(ratio)
        flat += np.interp(frequency, source, signal[sector][there]) / len(ratio)
    chi = phase(optics, mean, frequency**2)
    quality = _quality(flat, -np.cos(2 * chi), chi, low)
    resolution = _reach(quality, chi, max(low, int(np.argmax(np.abs(chi) > np.pi))))
    return replace(
        found,
        resolution=1 / float(frequency[resolution]) if resolution else 999.0,
        frequency=frequency,
        average=average,
        straight=straight,
        fitted=np.abs(np.sin(chi)),
        quality=quality,
    )


def _reach(quality: Array, chi: Array, low: int) -> int:
    """Last ring bin up to which the fit is good, 0 if none is; it may become good as late as the fourth ring.

    The specimen's own spectrum may hide the first rings, and says nothing about those beyond.
    """
    good = quality >= GOOD
    begin = low + int(np.argmax(good[low:]))
    if not good[begin] or abs(chi[begin]) > 5 * np.pi:
        return 0
    bad = np.flatnonzero(~good[begin:])
    return begin + int(bad[0]) - 1 if len(bad) else int(0.98 * len(quality))


def _quality(flat: Array, model: Array, chi: Array, low: int) -> Array:
    """Running correlation from bin `low` on, over one ring to either side and at least 4 bins.

    A window in rings, not in bins, means the same at any defocus.
    """
    result = np.zeros(len(flat))
    turns = np.maximum.accumulate(np.abs(chi - chi[0]))
    for i in range(low, len(flat)):
        first = min(int(np.searchsorted(turns, turns[i] - np.pi)), i - 4)
        last = max(int(np.searchsorted(turns, turns[i] + np.pi, side="right")), i + 5)
        window = slice(max(first, low), min(last, len(flat)))
        a, b = flat[window] - flat[window].mean(), model[window] - model[window].mean()
        result[i] = float(a @ b) / float(np.sqrt((a @ a) * (b @ b)) + 1e-12)
    return result
