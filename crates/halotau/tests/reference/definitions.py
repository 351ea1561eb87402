"""The equations of the method in plain NumPy and SciPy, float64, without any care for speed.

Written from the equations, not from the Rust code, so that an error would have to be made twice.
Symbols: x[time, pixel] counts of one position on a ring.
"""

import numpy as np
from scipy.optimize import least_squares


# Geometry

def q_map(shape, center, q_step_per_nm):
    """Spatial frequency of every pattern pixel at its center, [row, col]."""
    row, col = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(row - center[0], col - center[1]) * q_step_per_nm


def ring_mask(q, valid, q_range):
    """Valid pixels with q_min <= q < q_max, [row, col]."""
    return valid & (q_range[0] <= q) & (q < q_range[1])


# Two-time correlation, eqs. (1) and (2)

def two_time(x):
    """G(t1, t2) = <x(t1) x(t2)> / (<x(t1)> <x(t2)>), means over pixels. [time, time]"""
    n_times = len(x)
    g = np.empty((n_times, n_times))
    for t1 in range(n_times):
        for t2 in range(n_times):
            g[t1, t2] = np.mean(x[t1] * x[t2]) / (np.mean(x[t1]) * np.mean(x[t2]))
    return g


def one_time(two_time_matrix):
    """g(k) = mean of G(i, i + k) over i, for lags 1 to n - 1. [lag]"""
    return np.array([np.diagonal(two_time_matrix, k).mean() for k in range(1, len(two_time_matrix))])


def per_pixel(x):
    """g of each pixel over time, symmetric normalization, then the mean over pixels. [lag]

    Pixels without counts in one of the two windows have no g and are left out.

    g_p(k) = (n - k) sum_i x_p(i) x_p(i + k) / (sum_{i <= n-k} x_p(i) * sum_{i > k} x_p(i))
    """
    n_times = len(x)
    g = []
    for k in range(1, n_times):
        early, late = x[: n_times - k], x[k:]
        norm = early.sum(0) * late.sum(0)
        there = norm > 0
        g.append(np.mean((n_times - k) * (early * late).sum(0)[there] / norm[there]))
    return np.array(g)


def mean_ring(series):
    """M of each ring pixel: mean over positions and scans of x / s, s the ring mean of that frame.

    series[row, col, time, pixel]
    """
    s = series.mean(axis=-1, keepdims=True)
    return (series / s).mean(axis=(0, 1, 2))


def radial_mean_ring(m, q, q_min, q_step):
    """M(q): means of M in bins one q_step wide from q_min, joined by straight lines at the bins' mean q.

    Beyond the outermost nodes the nearest line is continued.
    """
    number = np.floor((q - q_min) / q_step).astype(int)
    filled = np.unique(number)
    node_q = np.array([q[number == b].mean() for b in filled])
    node_m = np.array([m[number == b].mean() for b in filled])
    if len(filled) == 1:
        return np.full_like(q, node_m[0])
    at = np.clip(np.searchsorted(node_q, q), 1, len(filled) - 1)
    slope = (node_m[at] - node_m[at - 1]) / (node_q[at] - node_q[at - 1])
    return node_m[at - 1] + slope * (q - node_q[at - 1])


def flattened(x, m):
    """y_p(i) = x_p(i) / (s(i) M_p). [time, pixel]"""
    return x / (x.mean(axis=1, keepdims=True) * m)


# Azimuthal variance, eq. (5)

def ring_numbers(q, q_min, ring_width):
    """Number of each pixel's ring; rings are half-open, one width wide, from the lower edge of the band."""
    return np.floor((q - q_min) / ring_width).astype(int)


def variance(x, groups, statistic):
    """Mean over scans of the statistic of each group of pixels, groups weighted with their number of pixels."""
    total = 0.0
    for number in np.unique(groups):
        inside = groups == number
        total += inside.sum() * statistic(x[:, inside])
    return total / len(groups)


def raw(x):
    """<x^2> / <x>^2 - 1 of each scan, then the mean over scans."""
    return np.mean((x**2).mean(1) / x.mean(1) ** 2 - 1)


def counting(x, gain, excess_factor):
    """Raw less gain * excess_factor / <x> of each scan, then the mean over scans."""
    return np.mean((x**2).mean(1) / x.mean(1) ** 2 - 1 - gain * excess_factor / x.mean(1))


def finite_counting(x, gain, excess_factor):
    """As counting, with the share 1 / P of the noise left in that the mean over P pixels took away before."""
    left = 1 - 1 / x.shape[1]
    return np.mean((x**2).mean(1) / x.mean(1) ** 2 - 1 - left * gain * excess_factor / x.mean(1))


def factorial(x):
    """<x (x - 1)> / <x>^2 - 1 of each scan, then the mean over scans."""
    return np.mean((x * (x - 1)).mean(1) / x.mean(1) ** 2 - 1)


def two_frame(x):
    """<x(t) x(t + 1)> / (<x(t)> <x(t + 1)>) - 1, then the mean over t."""
    return np.mean((x[:-1] * x[1:]).mean(1) / (x[:-1].mean(1) * x[1:].mean(1)) - 1)


# Stretched exponential, eq. (3)

def kww(lag_s, tau_s, stretch, exponent_factor):
    return np.exp(-exponent_factor * (lag_s / tau_s) ** stretch)


def in_window(decay, n_times, lags):
    """What normalizing each pixel over a finite record leaves of a correlation c(k): c(k) - C_k.

    C_k = sum_{i <= n-k} sum_{j > k} c(|i - j|) / (n - k)^2;  decay[k] = c(k) for k = 0 .. n - 1.
    """
    out = []
    for k in lags:
        early, late = np.arange(1, n_times - k + 1), np.arange(k + 1, n_times + 1)
        c = decay[np.abs(early[:, None] - late[None, :])]
        out.append(decay[k] - c.sum() / (n_times - k) ** 2)
    return np.array(out)


def fit_kww(lag_s, g, weights, exponent_factor=2.0, stretch=1.0, stretch_bounds=None, baseline=1.0,
            tau_bounds_s=(1e-3, 1e7), n_times=None):
    """Least squares of weights * residual^2 over ln tau, contrast >= 0 and what is free.

    `stretch_bounds` frees the stretch, `baseline=None` the baseline, `n_times` fits the finite-window model
    (lags are then whole steps of lag_s[0]). The lowest minimum of a grid of starts. Returns a dict, or None
    where tau ends at a bound or nothing decays.
    """
    lag_s, g, root = np.asarray(lag_s), np.asarray(g), np.sqrt(np.asarray(weights, float))

    def model(p):
        tau_s = np.exp(p[0])
        gamma = np.exp(p[2]) if stretch_bounds else stretch
        if n_times:
            steps = np.arange(n_times) * lag_s[0]
            shape = in_window(kww(steps, tau_s, gamma, exponent_factor), n_times,
                              np.rint(lag_s / lag_s[0]).astype(int))
        else:
            shape = kww(lag_s, tau_s, gamma, exponent_factor)
        return (p[-1] if baseline is None else baseline) + p[1] * shape

    def residuals(p):
        return root * (model(p) - g)

    lower, upper = [np.log(tau_bounds_s[0]), 0.0], [np.log(tau_bounds_s[1]), np.inf]
    if stretch_bounds:
        lower.append(np.log(stretch_bounds[0]))
        upper.append(np.log(stretch_bounds[1]))
    if baseline is None:
        lower.append(-np.inf)
        upper.append(np.inf)
    best = None
    for start_tau in np.geomspace(0.5 * lag_s[0], 20 * lag_s[-1], 9):
        if not lower[0] < np.log(start_tau) < upper[0]:
            continue
        start = [np.log(start_tau), max(g[0] - 1, 1e-3)] + ([0.0] if stretch_bounds else []) \
            + ([1.0] if baseline is None else [])
        found = least_squares(residuals, start, bounds=(lower, upper), x_scale="jac")
        if best is None or found.cost < best.cost:
            best = found
    best = least_squares(residuals, best.x, bounds=(lower, upper), x_scale="jac", jac="3-point",
                         xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=4000)
    p = best.x
    if p[1] <= 0 or p[0] - lower[0] < 1e-3 or upper[0] - p[0] < 1e-3:
        return None
    return {
        "tau_s": np.exp(p[0]),
        "contrast": p[1],
        "stretch": np.exp(p[2]) if stretch_bounds else stretch,
        "baseline": p[-1] if baseline is None else baseline,
        "cost": 2 * best.cost,
    }


# Temperatures, eq. (4)

GAS_CONSTANT = 8.314462618153240


def arrhenius(temperature_k, tau_s, ln_tau_error=None):
    """ln tau = ln tau_infinite + E / (R T) by numpy's polyfit.

    With errors: weighted, the covariance widened where chi2 / (n - 2) exceeds 1. Without: all points alike, the
    covariance from the scatter.
    """
    x = 1000 / (GAS_CONSTANT * np.asarray(temperature_k))  # mol/kJ
    y = np.log(tau_s)
    if ln_tau_error is None:
        line, covariance = np.polyfit(x, y, 1, cov=True)
    else:
        w = 1 / np.asarray(ln_tau_error)
        line, covariance = np.polyfit(x, y, 1, w=w, cov="unscaled")
        chi2 = np.sum((w * (np.polyval(line, x) - y)) ** 2)
        covariance = covariance * max(1.0, chi2 / (len(x) - 2))
    return {
        "activation_energy_kj_per_mol": line[0],
        "activation_energy_error_kj_per_mol": np.sqrt(covariance[0, 0]),
        "ln_tau_infinite": line[1],
        "ln_tau_infinite_error": np.sqrt(covariance[1, 1]),
        "covariance": covariance[0, 1],
    }
