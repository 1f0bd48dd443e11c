"""Build ``candidates.db``, a small ASE database to try a screen on.

The crystals are ideal prototypes, whose cells and positions are relaxed with a force
field if ``--relax`` names one, with their symmetry; the file that is here was made with
``--relax 7net-0`` (``pip install "mftscreen[sevenn]"``, a quarter of an hour). The key
``relaxed_by`` says of each row whether that came to its end.

Before that, and without, a cell follows from bond lengths alone. A bond is the sum of
two radii: Shannon ionic radii of the site's charge and coordination number, or covalent
radii (Cordero) where every site is tetrahedral. Each prototype function turns bonds
into a cell by its geometry, for example ``a = 2 d`` for rock salt. Most lattice
constants are within 5 %; some rows are prototypes that the compound does not adopt.
Seven rows are far from any usual training set (group ``far_out``) and one has
overlapping atoms (``broken``); these are not relaxed.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii
from ase.db import connect
from ase.formula import Formula
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal
from pymatgen.core import Element
from tqdm import tqdm

from mftscreen import load_model
from mftscreen.screen.relax.batched import Relaxer, RelaxSettings

Row = tuple[str, str, str, Atoms]
"""Name, prototype, group and structure."""

MIN_DISTANCE = 1.2  # Å
ANIONS = {"O": -2, "S": -2, "Se": -2, "Te": -2, "F": -1, "Cl": -1, "Br": -1, "I": -1}
ANIONS |= {"N": -3, "P": -3, "As": -3, "Sb": -3}
CATIONS = dict.fromkeys(["Li", "Na", "K", "Rb", "Cs", "Cu", "Ag", "Tl"], 1)
CATIONS |= dict.fromkeys(["Y", "La"], 3)  # every other first cation: +2
GROUPS = {"O": "oxide", "S": "sulfide", "Se": "selenide", "Te": "telluride"}
GROUPS |= dict.fromkeys(["F", "Cl", "Br", "I"], "halide")
GROUPS |= dict.fromkeys(["P", "As", "Sb"], "pnictide")
GROUPS |= {"N": "nitride", "C": "carbide", "Si": "elemental", "Ge": "elemental"}
CN = ["0", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"]
ZERO, HALF, QUARTER = (0, 0, 0), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def charges(formula: str) -> dict[str, int]:
    """Charges of a formula's elements, the last cation's by neutrality."""
    counts = Formula(formula).count()
    *cations, anion = counts
    known = {el: CATIONS.get(el, 2) for el in cations[:-1]} | {anion: ANIONS[anion]}
    rest = -sum(known[el] * counts[el] for el in known)
    return known | {cations[-1]: rest // counts[cations[-1]]}


def radius(symbol: str, charge: int, cn: int) -> float:
    """Shannon radius in Å at the tabulated coordination number nearest to `cn`."""
    if (symbol, charge) == ("Sn", 2):
        return 1.10  # not in Shannon's table; from SnTe and CsSnI3
    table = Element(symbol).data["Shannon radii"][str(charge)]
    by_cn = {CN.index(key): spins for key, spins in table.items() if key in CN}
    spins = by_cn[min(by_cn, key=lambda n: (abs(n - cn), n))]
    return spins.get("High Spin", next(iter(spins.values())))["ionic_radius"]


def ionic(formula: str, cation: int, cn: int, cn_anion: int) -> float:
    """Bond length in Å of the formula's cation number `cation` and its anion."""
    symbols, charge = list(Formula(formula).count()), charges(formula)
    ends = (symbols[cation], cn), (symbols[-1], cn_anion)
    return sum(radius(el, charge[el], n) for el, n in ends)


def covalent(formula: str) -> float:
    """Mean bond length in Å from covalent radii, for tetrahedral networks."""
    *cations, anion = [covalent_radii[atomic_numbers[el]] for el in Formula(formula)]
    return sum(cations) / max(len(cations), 1) + anion if cations else 2 * anion


def build(formula: str, group: str, basis: list, *cell: float, setting=1) -> Atoms:
    """Primitive cell with one basis site per element; `cell` is a or (a, c)."""
    a, c = cell[0], cell[-1]
    angle = 120 if group.startswith(("P6", "P-3", "R", "P 6", "P -3")) else 90
    atoms = crystal(
        list(Formula(formula).count()),
        basis,
        spacegroup=group,
        setting=setting,
        cellpar=[a, a, c, 90, 90, angle],
        primitive_cell=True,
    )
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)


def rocksalt(f: str) -> Atoms:
    return build(f, "F m -3 m", [ZERO, HALF], 2 * ionic(f, 0, 6, 6))


def cscl(f: str) -> Atoms:
    return build(f, "P m -3 m", [ZERO, HALF], 2 / sqrt(3) * ionic(f, 0, 8, 8))


def zincblende(f: str) -> Atoms:
    return build(f, "F -4 3 m", [ZERO, QUARTER], 4 / sqrt(3) * covalent(f))


def diamond(f: str) -> Atoms:
    return build(f, "F d -3 m", [ZERO], 4 / sqrt(3) * covalent(f))


def wurtzite(f: str) -> Atoms:
    a, basis = sqrt(8 / 3) * covalent(f), [(1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 3 / 8)]
    return build(f, "P 63 m c", basis, a, sqrt(8 / 3) * a)


def chalcopyrite(f: str) -> Atoms:
    a = 4 / sqrt(3) * covalent(f)  # mean of both cations, weighted as in the formula
    return build(f, "I -4 2 d", [ZERO, (0, 0, 0.5), (0.25, 0.25, 0.125)], a, 2 * a)


def fluorite(f: str) -> Atoms:
    return build(f, "F m -3 m", [ZERO, QUARTER], 4 / sqrt(3) * ionic(f, 0, 8, 4))


def antifluorite(f: str) -> Atoms:
    return build(f, "F m -3 m", [QUARTER, ZERO], 4 / sqrt(3) * ionic(f, 0, 4, 8))


def rutile(f: str) -> Atoms:
    u = 0.305
    a = ionic(f, 0, 6, 3) / (sqrt(2) * u)
    return build(f, "P 42/m n m", [ZERO, (u, u, 0)], a, 0.65 * a)


def corundum(f: str) -> Atoms:
    a = 2.49 * ionic(f, 0, 6, 4)  # 2.49 and c/a = 2.73 are those of Al2O3
    return build(f, "R -3 c", [(0, 0, 0.352), (0.306, 0, 0.25)], a, 2.73 * a)


def cdi2(f: str) -> Atoms:
    d, x = ionic(f, 0, 6, 3), list(Formula(f).count())[-1]
    slab, gap = 2 / sqrt(3) * d, 1.55 * radius(x, ANIONS[x], 6)  # gap as in TiS2, CdI2
    basis = [ZERO, (1 / 3, 2 / 3, slab / 2 / (slab + gap))]
    return build(f, "P -3 m 1", basis, sqrt(2) * d, slab + gap)


def corner(f: str, cation: int) -> float:
    """Octahedral bond with the anion shared by two corners; Cl, Br, I are soft."""
    soft = 0.94 if {"Cl", "Br", "I"} & set(Formula(f)) else 1.0
    return soft * ionic(f, cation, 6, 2)


def perovskite(f: str) -> Atoms:
    return build(f, "P m -3 m", [HALF, ZERO, (0.5, 0, 0)], 2 * corner(f, 1))


def reo3(f: str) -> Atoms:
    return build(f, "P m -3 m", [ZERO, (0.5, 0, 0)], 2 * corner(f, 0))


def elpasolite(f: str) -> Atoms:
    d, a = corner(f, 1), 2 * (corner(f, 1) + corner(f, 2))
    return build(f, "F m -3 m", [QUARTER, ZERO, HALF, (d / a, 0, 0)], a)


def spinel(f: str) -> Atoms:
    tet, octa = ionic(f, 0, 4, 4), ionic(f, 1, 6, 4)
    a = 8 / (3 * sqrt(3)) * tet + 8 / 3 * octa
    u = 0.125 + tet / (sqrt(3) * a)
    return build(f, "F d -3 m", [(0.125,) * 3, HALF, (u, u, u)], a, setting=2)


def delafossite(f: str) -> Atoms:
    linear, octa = ionic(f, 0, 2, 4), ionic(f, 1, 6, 4)
    c = 3 * (2 * linear + 2 / sqrt(3) * octa)
    return build(
        f, "R -3 m", [ZERO, (0, 0, 0.5), (0, 0, linear / c)], sqrt(2) * octa, c
    )


PROTOTYPES: dict[Callable[[str], Atoms], str] = {
    rocksalt: "LiF NaF KF RbF LiCl NaCl KCl RbCl AgCl LiBr NaBr KBr AgBr LiI NaI KI "
    "RbI MgO CaO SrO BaO CdO MnO NiO CoO MgS CaS SrS BaS PbS MnS CaSe SrSe PbSe SnSe "
    "CaTe BaTe PbTe SnTe GeTe ScN YN LaN",
    cscl: "CsCl CsBr CsI TlCl TlBr TlI",
    zincblende: "BN BP BAs AlP AlAs AlSb GaN GaP GaAs GaSb InP InAs InSb SiC BeS BeSe "
    "BeTe ZnS ZnSe ZnTe CdS CdSe CdTe HgSe HgTe CuCl CuBr CuI",
    diamond: "C Si Ge",
    wurtzite: "BeO ZnO AlN GaN InN ZnS CdS CdSe AgI SiC",
    chalcopyrite: "CuAlS2 CuGaS2 CuInS2 CuInSe2 CuGaSe2 AgGaS2 AgGaSe2 AgInTe2 ZnGeP2 "
    "ZnSnAs2 CdSiP2 CdGeAs2",
    fluorite: "CaF2 SrF2 BaF2 CdF2 PbF2 SrCl2 CeO2 ZrO2 HfO2 ThO2 UO2 TiO2",
    antifluorite: "Li2O Na2O K2O Li2S Na2S K2S Li2Se Na2Se Li2Te",
    rutile: "TiO2 SnO2 GeO2 PbO2 VO2 NbO2 TaO2 RuO2 TeO2 HfO2 MgF2 ZnF2 MnF2",
    corundum: "Al2O3 Ga2O3 In2O3 Cr2O3 Fe2O3 Ti2O3 V2O3 Sc2O3",
    cdi2: "CdI2 PbI2 MgI2 CaI2 MgBr2 CdBr2 MgCl2 TiS2 ZrS2 HfS2 SnS2 TaS2 TiSe2 ZrSe2 "
    "HfSe2 SnSe2 TiTe2 ZrTe2",
    perovskite: "CaTiO3 SrTiO3 BaTiO3 PbTiO3 SrZrO3 BaZrO3 PbZrO3 CaHfO3 SrHfO3 BaHfO3 "
    "BaSnO3 SrSnO3 KNbO3 NaNbO3 AgNbO3 KTaO3 NaTaO3 AgTaO3 LaAlO3 YAlO3 LaGaO3 LaScO3 "
    "LaCrO3 KMgF3 KZnF3 NaMgF3 CsCaF3 CsPbCl3 CsPbBr3 CsPbI3 CsSnCl3 CsSnBr3 CsSnI3 "
    "CsGeBr3 RbPbI3",
    reo3: "WO3 ReO3 AlF3 ScF3",
    elpasolite: "Cs2AgBiBr6 Cs2AgBiCl6 Cs2AgInCl6 Cs2NaBiCl6 K2NaAlF6 Ba2MgWO6",
    spinel: "MgAl2O4 ZnAl2O4 ZnGa2O4 MgIn2O4 CdIn2S4 ZnCr2S4 CdCr2Se4",
    delafossite: "CuAlO2 CuGaO2 CuCrO2 AgAlO2",
}


def odd_structures() -> Iterator[Row]:
    """Structures a screen should flag (``far_out``) or refuse (``broken``)."""
    hydride = bulk("PuH", "rocksalt", a=5.3)  # with both tetrahedral holes filled
    hydride += Atoms("H2", [(1.325,) * 3, (3.975,) * 3])
    chain = Atoms("HLi", [ZERO, (0, 0, 30)], cell=[3, 3, 60], pbc=True)
    far_out = {
        ("Ne-fcc-expanded", "fcc"): bulk("Ne", "fcc", a=9.0),
        ("PuH3-hypothetical", "bif3"): hydride,
        ("PaOs-intermetallic", "cscl"): bulk("PaOs", "cesiumchloride", a=3.2),
        ("W-bcc-compressed", "bcc"): bulk("W", "bcc", a=2.5),
        ("Cs-bcc-expanded", "bcc"): bulk("Cs", "bcc", a=9.5),
        ("RnFr-hypothetical", "rocksalt"): bulk("RnFr", "rocksalt", a=8.0),
        ("LiH-elongated-cell", "chain"): chain,
    }
    for (name, prototype), atoms in far_out.items():
        yield name, prototype, "far_out", atoms
    overlap = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    overlap.positions[1] = overlap.positions[0] + (0.05, 0, 0)
    yield "NaCl-broken-overlap-0.05A", "rocksalt", "broken", overlap


def candidates() -> Iterator[Row]:
    """Yield name, prototype, group and atoms of every row."""
    for make, formulas in PROTOTYPES.items():
        for formula in formulas.split():
            group = GROUPS[list(Formula(formula).count())[-1]]
            if make is diamond:
                group = "elemental"
            yield f"{formula}-{make.__name__}", make.__name__, group, make(formula)
    yield from odd_structures()


def relax(rows: list[Row], model: str) -> Iterator[tuple[Row, str]]:
    """Yield rows with relaxed structures, and what relaxed each."""
    ordinary = [row for row in rows if row[2] not in ("far_out", "broken")]
    relaxer = Relaxer(load_model(model), RelaxSettings(fmax=0.02))
    found = relaxer(atoms for *_, atoms in tqdm(ordinary, disable=None))
    relaxed = {row[0]: result for row, result in zip(ordinary, found, strict=True)}
    for name, prototype, group, atoms in rows:
        result = relaxed.get(name)
        if result is not None and result.converged:
            yield (name, prototype, group, result.atoms), model
        else:
            yield (name, prototype, group, atoms), "nothing"


@click.command()
@click.option(
    "--relax",
    "model",
    metavar="MODEL",
    help="Relax cells and positions with the force field of this model.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(__file__).with_name("candidates.db"),
    help="Database to write; an existing one is replaced.  [default: candidates.db "
    "beside this script]",
)
def main(model: str | None, output: Path) -> None:
    """Write the example candidates to an ASE database."""
    rows = list(candidates())
    found = relax(rows, model) if model else ((row, "nothing") for row in rows)
    counts: Counter[str] = Counter()
    with TemporaryDirectory(dir=output.parent, prefix=".candidates-") as folder:
        path = Path(folder) / "candidates.db"
        with connect(path) as db:
            for (name, prototype, group, atoms), relaxed_by in found:
                close = len(neighbor_list("i", atoms, MIN_DISTANCE)) > 0
                if close != (group == "broken"):
                    raise click.ClickException(f"{name}: unexpected atom distances")
                db.write(
                    Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True),
                    name=name, prototype=prototype, group=group, relaxed_by=relaxed_by,
                )  # fmt: skip
                counts[group] += 1
        path.replace(output)
    for group, count in sorted(counts.items()):
        click.echo(f"{group:10s} {count:4d}")
    click.echo(f"{'total':10s} {counts.total():4d}  {output.name}")


if __name__ == "__main__":
    main()
