"""Periodic Voronoi cells by clipping with half-spaces, compiled with numba.

Import this module inside functions only: importing numba takes about half a second.

The cell of an atom begins as a cube and is cut, nearest neighbour first, by the planes
halfway to its neighbours. No neighbour further away than twice the largest distance
from the atom to a vertex can cut it any more, so the search radius proves itself: it
grows until the sphere of that radius has been searched.

The compiled functions share one module, because numba does not notice a change of a
cached function in another module. They use loops over numbers where numpy has an
expression for it, because each array expression adds a second to the compilation on
first use.
"""

from __future__ import annotations

from collections.abc import Callable
from math import atan2, ceil, floor, inf, sqrt
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mftscreen.compiling import compiled

__all__ = ["OVERFLOW", "OVERLAP", "SUCCESS", "reduce_cell", "tessellate"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SUCCESS, OVERLAP, OVERFLOW = 0, 1, 2

_TOUCH = 1e-12
"""A plane that cuts off less than this depth (Å) only touches the cell."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compile with numba, which has no types of its own, and keep the signature."""
    return compiled(function)


@_compiled
def _dot(a: FloatArray, b: FloatArray) -> float:
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


@_compiled
def _order(keys: FloatArray, count: int) -> IntArray:
    """Return the indices that sort the first `count` keys (Shell's method)."""
    order = np.empty(count, dtype=np.int64)
    for k in range(count):
        order[k] = k
    for gap in (701, 301, 132, 57, 23, 10, 4, 1):
        for k in range(gap, count):
            moving, j = order[k], k
            while j >= gap and keys[order[j - gap]] > keys[moving]:
                order[j] = order[j - gap]
                j -= gap
            order[j] = moving
    return order


@_compiled
def reduce_cell(cell: FloatArray) -> FloatArray:
    """Return a short basis of the lattice of `cell` (3, 3), rows are vectors in Å."""
    basis = cell.copy()
    for _ in range(100):
        changed = False
        for i in range(3):
            for j in range(3):
                if i == j:
                    continue
                overlap = _dot(basis[i], basis[j]) / _dot(basis[j], basis[j])
                # exactly 0.5 would be rounded to and fro for ever
                if abs(overlap) > 0.5 + 1e-9:
                    times = floor(overlap + 0.5)
                    for k in range(3):
                        basis[i, k] -= times * basis[j, k]
                    changed = True
        if not changed:
            break
    return basis


@_compiled
def _start_cube(vertices: FloatArray, counts: IntArray, half: float) -> None:
    # all loops run counterclockwise seen from outside, here and in every cap, so that
    # the two faces at an edge run through it in opposite directions
    face = 0
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            if sign < 0.0:
                u, v = v, u
            for corner in range(4):
                vertices[face, corner, axis] = sign * half
                vertices[face, corner, u] = half if corner in (0, 3) else -half
                vertices[face, corner, v] = half if corner < 2 else -half
            counts[face] = 4
            face += 1


@_compiled
def _close_cap(
    cap: FloatArray, count: int, normal: FloatArray, target: FloatArray
) -> None:
    """Write coplanar points to `target`, counterclockwise around a unit normal."""
    axis = 0
    for k in range(1, 3):
        if abs(normal[k]) < abs(normal[axis]):
            axis = k
    mean, u, v = np.zeros(3), np.empty(3), np.empty(3)
    for k in range(count):
        for c in range(3):
            mean[c] += cap[k, c] / count
    # the axis that is furthest from the normal, made perpendicular to it
    length = sqrt(1.0 - normal[axis] * normal[axis])
    for c in range(3):
        u[c] = ((1.0 if c == axis else 0.0) - normal[axis] * normal[c]) / length
    for c in range(3):
        d, e = (c + 1) % 3, (c + 2) % 3
        v[c] = normal[d] * u[e] - normal[e] * u[d]
    angles = np.empty(count)
    for k in range(count):
        angles[k] = atan2(
            _dot(cap[k], v) - _dot(mean, v), _dot(cap[k], u) - _dot(mean, u)
        )
    order = _order(angles, count)
    for k in range(count):
        for c in range(3):
            target[k, c] = cap[order[k], c]


@_compiled
def _clip(
    vertices: FloatArray,  # (faces, vertices, 3), Å
    counts: IntArray,  # vertices of each face
    owners: FloatArray,  # (faces, 4): vector to the neighbour, its species
    n_faces: int,
    neighbour: FloatArray,  # vector in Å, species
    sides: FloatArray,  # scratch, (faces, vertices)
) -> int:
    """Cut a cell with the plane halfway to a neighbour.

    Returns the new number of faces, -1 when a buffer is too small, or -2 when the plane
    does not cut the cell.
    """
    length = sqrt(_dot(neighbour, neighbour))
    normal = np.empty(3)
    for c in range(3):
        normal[c] = neighbour[c] / length
    cuts = False
    for f in range(n_faces):
        for k in range(counts[f]):
            sides[f, k] = _dot(normal, vertices[f, k]) - 0.5 * length
            cuts = cuts or sides[f, k] > _TOUCH
    if not cuts:
        return -2
    max_vertices = vertices.shape[1]
    loop = np.empty((max_vertices, 3))
    cap = np.empty((max_vertices, 3))
    n_cap = kept = 0
    for f in range(n_faces):
        n_loop = 0
        for k in range(counts[f]):
            j = k + 1 if k + 1 < counts[f] else 0
            inside, next_inside = sides[f, k] <= _TOUCH, sides[f, j] <= _TOUCH
            if n_loop + 2 > max_vertices or n_cap + 1 > max_vertices:
                return -1
            if inside:
                for c in range(3):
                    loop[n_loop, c] = vertices[f, k, c]
                n_loop += 1
            if inside != next_inside:
                # always from the inner to the outer end: the two faces that share
                # the edge then get the same vertex to the last bit
                a, b = (k, j) if inside else (j, k)
                inner, outer = min(sides[f, a], 0.0), sides[f, b]
                t = inner / (inner - outer)
                for c in range(3):
                    start = vertices[f, a, c]
                    loop[n_loop, c] = start + t * (vertices[f, b, c] - start)
                    if inside:  # every cut edge leaves the cell in exactly one face
                        cap[n_cap, c] = loop[n_loop, c]
                n_cap += inside
                n_loop += 1
        if n_loop >= 3:
            for k in range(n_loop):
                for c in range(3):
                    vertices[kept, k, c] = loop[k, c]
            for c in range(4):
                owners[kept, c] = owners[f, c]
            counts[kept] = n_loop
            kept += 1
    if n_cap >= 3:
        if kept == vertices.shape[0]:
            return -1
        _close_cap(cap, n_cap, normal, vertices[kept])
        for c in range(4):
            owners[kept, c] = neighbour[c]
        counts[kept] = n_cap
        kept += 1
    return kept


@_compiled
def _solid_angle(polygon: FloatArray, count: int) -> float:
    """Return the solid angle (sr) of a polygon (count, 3) seen from the origin."""
    total = 0.0
    a = polygon[0]
    ra = sqrt(_dot(a, a))
    for k in range(1, count - 1):
        b, c = polygon[k], polygon[k + 1]
        rb, rc = sqrt(_dot(b, b)), sqrt(_dot(c, c))
        triple = (
            a[0] * (b[1] * c[2] - b[2] * c[1])
            + a[1] * (b[2] * c[0] - b[0] * c[2])
            + a[2] * (b[0] * c[1] - b[1] * c[0])
        )
        rest = ra * rb * rc + _dot(a, b) * rc + _dot(a, c) * rb + _dot(b, c) * ra
        total += 2.0 * atan2(abs(triple), rest)
    return total


@_compiled
def _neighbours(
    cell: FloatArray,
    heights: FloatArray,
    scaled: FloatArray,
    species: IntArray,
    site: int,
    inner: float,
    outer: float,
) -> FloatArray:
    """Return the atoms of a spherical shell, by distance.

    Each row of (n, 6) holds a vector, a species, a distance and an atom.
    """
    found = np.empty((128, 6))
    distances = np.empty(128)
    count = 0
    shift = np.empty(3)
    low, high = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for j in range(len(scaled)):
        for k in range(3):
            shift[k] = scaled[j, k] - scaled[site, k]
            low[k] = ceil(-outer / heights[k] - shift[k] - 1e-9)
            high[k] = floor(outer / heights[k] - shift[k] + 1e-9)
        for n0 in range(low[0], high[0] + 1):
            for n1 in range(low[1], high[1] + 1):
                for n2 in range(low[2], high[2] + 1):
                    d2 = 0.0
                    for k in range(3):
                        component = (
                            (shift[0] + n0) * cell[0, k]
                            + (shift[1] + n1) * cell[1, k]
                            + (shift[2] + n2) * cell[2, k]
                        )
                        found[count, k] = component
                        d2 += component * component
                    is_self = j == site and n0 == 0 and n1 == 0 and n2 == 0
                    # atoms on top of each other (d2 = 0) are found, and refused later
                    known = inner > 0.0 and d2 <= inner * inner
                    if is_self or known or d2 > outer * outer:
                        continue
                    found[count, 3] = species[j]
                    found[count, 4] = distances[count] = sqrt(d2)
                    found[count, 5] = j
                    count += 1
                    if count == len(found):
                        wider, longer = np.empty((2 * count, 6)), np.empty(2 * count)
                        for row in range(count):
                            longer[row] = distances[row]
                            for c in range(6):
                                wider[row, c] = found[row, c]
                        found, distances = wider, longer
    order = _order(distances, count)
    ordered = np.empty((count, 6))
    for k in range(count):
        for c in range(6):
            ordered[k, c] = found[order[k], c]
    return ordered


@_compiled
def _shortest_image(vector: FloatArray, cell: FloatArray) -> float:
    """Return the length of `vector`, taken to its shortest periodic image."""
    image = vector[:3].copy()
    best = _dot(image, image)
    improved = True
    while improved:  # descends to the shortest, as 26 neighbours surround each cell
        improved = False
        start = image.copy()
        for n0 in range(-1, 2):
            for n1 in range(-1, 2):
                for n2 in range(-1, 2):
                    length2 = 0.0
                    for k in range(3):
                        shift = n0 * cell[0, k] + n1 * cell[1, k] + n2 * cell[2, k]
                        length2 += (start[k] + shift) ** 2
                    if length2 < best * (1.0 - 1e-12):
                        best = length2
                        improved = True
                        for k in range(3):
                            shift = n0 * cell[0, k] + n1 * cell[1, k] + n2 * cell[2, k]
                            image[k] = start[k] + shift
    return sqrt(best)


@_compiled
def tessellate(
    cell: FloatArray,
    heights: FloatArray,
    scaled: FloatArray,
    species: IntArray,
    sites: IntArray,
    first_cutoff: float,
    max_cutoff: float,
    half_box: float,
    min_distance: float,
    image_cell: FloatArray,
    max_faces: int,
) -> tuple[int, FloatArray, FloatArray, FloatArray]:
    r"""Return the weights of the Voronoi neighbours of some sites, by species.

    Parameters
    ----------
    cell : ndarray of shape (3, 3)
        A short basis (see :func:`reduce_cell`), rows in Å.
    heights : ndarray of shape (3,)
        Heights of the cell in Å.
    scaled : ndarray of shape (n_atoms, 3)
        Fractional coordinates in [0, 1].
    species : ndarray of shape (n_atoms,)
        Numbers from 0.
    sites : ndarray of shape (n_sites,)
        Indices of the atoms whose cells are wanted.
    first_cutoff : float
        Radius (Å) of the first search; it should hold the neighbours of most atoms.
    max_cutoff : float
        Neighbours further away (Å) are ignored. The cell is the true one where twice
        its radius is less.
    half_box : float
        Half the edge (Å) of the cube that the clipping begins with. Faces that still
        touch it are open and dropped.
    min_distance : float
        Smallest distance (Å) between two atoms.
    image_cell : ndarray of shape (3, 3) or (0, 3)
        If not empty, distances are those of the closest image in this lattice.
    max_faces : int
        Size of the buffer; a face may have half as many vertices.

    Returns
    -------
    status : int
        ``SUCCESS``; ``OVERLAP`` of two atoms; or ``OVERFLOW`` of the buffer.
    weights : ndarray of shape (n_sites, n_species)
        :math:`\sum_f \omega_f / (\omega_{max} d_f)` in 1/Å over the faces of a cell,
        by the species behind the face; zero if all faces are open.
    radii : ndarray of shape (n_sites,)
        Largest distance (Å) from a site to a vertex of its cell.
    overlap : ndarray of shape (3,)
        Two atoms and their distance (Å) when they overlap.
    """
    n_species = 1
    for number in species:
        n_species = max(n_species, number + 1)
    weights = np.zeros((len(sites), n_species))
    radii = np.zeros(len(sites))
    overlap = np.zeros(3)
    vertices = np.empty((max_faces, max_faces // 2, 3))
    sides = np.empty((max_faces, max_faces // 2))
    counts = np.empty(max_faces, dtype=np.int64)
    owners = np.empty((max_faces, 4))
    for row in range(len(sites)):
        _start_cube(vertices, counts, half_box)
        for f in range(6):
            owners[f, 3] = -1.0
        n_faces = 6
        radius = sqrt(3.0) * half_box
        inner, outer = 0.0, min(first_cutoff, max_cutoff)
        searching = True
        while searching:
            found = _neighbours(
                cell, heights, scaled, species, sites[row], inner, outer
            )
            if inner == 0.0 and len(found) and found[0, 4] < min_distance:
                overlap[0], overlap[1] = sites[row], found[0, 5]
                overlap[2] = found[0, 4]
                return OVERLAP, weights, radii, overlap
            for k in range(len(found)):
                if found[k, 4] > 2.0 * radius:
                    break
                result = _clip(vertices, counts, owners, n_faces, found[k], sides)
                if result == -1:
                    return OVERFLOW, weights, radii, overlap
                if result == -2:
                    continue
                n_faces = result
                largest = 0.0
                for f in range(n_faces):
                    for v in range(counts[f]):
                        p = vertices[f, v]
                        largest = max(largest, _dot(p, p))
                radius = sqrt(largest)
            searching = outer < min(2.0 * radius, max_cutoff)
            inner, outer = outer, min(1.5 * outer, 2.0 * radius, max_cutoff)
        radii[row] = radius
        angles = np.zeros(n_faces)
        largest_angle = 0.0
        for f in range(n_faces):
            is_open = owners[f, 3] < 0.0
            for v in range(counts[f]):
                for c in range(3):
                    is_open = is_open or abs(vertices[f, v, c]) > 0.999 * half_box
            if not is_open:
                angles[f] = _solid_angle(vertices[f], counts[f])
                largest_angle = max(largest_angle, angles[f])
        for f in range(n_faces):
            if angles[f] > 0.0:
                distance = sqrt(_dot(owners[f], owners[f]))
                if len(image_cell):
                    distance = _shortest_image(owners[f], image_cell)
                share = angles[f] / largest_angle
                species_behind = int(owners[f, 3])
                # an atom can be its own closest image
                weights[row, species_behind] += share / distance if distance else inf
    return SUCCESS, weights, radii, overlap
