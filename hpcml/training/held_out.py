"""Kinds of molecules that a split can hold out whole: whether a network transfers to them.

    split =           hold_out =
    "scaffold_class"  "acyclic", "monocyclic", ... by independent rings, or the SMILES of a
                      Bemis-Murcko scaffold (J. Med. Chem. 39, 2887 (1996))
    "group"           a functional group or ring of ``hpcml.molecules.groups``
    "elements"        "CNO": molecules of exactly these elements beside hydrogen; "NO+": of these
                      and perhaps others
    "environment"     a cluster of atomic environments: what its commonest atom is, in words
                      ("ring N of C, N"), or its number

Held out are all molecules that have it.  Environments are those of heavy atoms: Morgan's invariants
(D. Rogers and M. Hahn, J. Chem. Inf. Model. 50, 742 (2010)) of the atom, of its neighbours and of
theirs, counted, each shell with half the weight of the one before; k-means over the different
environments finds the clusters.  Which clusters there are depends on the molecules given, and their
numbers more than their words.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.Scaffolds import MurckoScaffold

from hpcml.errors import InputError, SettingsError
from hpcml.molecules import Molecule, perceive, symbol
from hpcml.molecules.groups import GROUPS, occurrences

Kind = Literal["scaffold_class", "group", "elements", "environment"]
KINDS: tuple[str, ...] = get_args(Kind)
"""The kinds of split that hold something out by name."""

CLUSTERS = 20
"""Most clusters of atomic environments."""
_RINGS = ("acyclic", "monocyclic", "bicyclic", "tricyclic", "tetracyclic", "polycyclic")
_MOST_TOLD = 30
_SHELL_WEIGHTS = (1.0, 0.5, 0.25)  # of squared distances
_FORMULA = re.compile(r"(?:[A-Z][a-z]?)+\+?")

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Holdable:
    """What of one kind can be held out of M molecules.

    having       name -> numbers of the molecules that have it
    words        name -> what it is, where the name alone does not say
    not_seen     numbers of the molecules whose bonds cannot be perceived: nothing is known of them
    """

    kind: str
    molecules: int
    having: dict[str, Numbers]
    words: dict[str, str] = field(default_factory=dict)
    not_seen: Numbers = field(default_factory=lambda: np.empty(0, np.int64))

    def find(self, name: str) -> Numbers:
        """Numbers of the molecules to hold out.

        Raises SettingsError for a name that none of them has, with all that could be held out.

        Returns
        -------
        (k,) integer array
        """
        normal = self._normal(name)
        found = self.having.get(normal, np.empty(0, np.int64))
        if self.kind == "elements" and normal.endswith("+"):
            found = _containing(self.having, normal)
        if not found.size:
            near = difflib.get_close_matches(name, [*self.words.values(), *self.having], n=1)
            advice = f"did you mean {near[0]!r}? " if name and near else ""
            what = (
                f"no molecule has {name!r}" if name.strip() else f"split = {self.kind!r} needs it"
            )
            raise SettingsError(f"train.hold_out: {what}; {advice}{self.told()}")
        return found

    def told(self) -> str:
        """What can be held out, and of how many molecules, in one line."""
        names = list(self.having)
        each = [
            f"{name}{f' ({self.words[name]})' if name in self.words else ''}: "
            f"{len(self.having[name])}"
            for name in names[:_MOST_TOLD]
        ]
        more = [f"and {len(names) - _MOST_TOLD} more"] if len(names) > _MOST_TOLD else []
        return f"of {self.molecules} molecules: " + ", ".join(each + more)

    def _normal(self, name: str) -> str:
        """The name as it is listed."""
        name = name.strip()
        if self.kind == "elements" and _FORMULA.fullmatch(name):
            return _formula(_elements(name)) + "+" * name.endswith("+")
        if self.kind == "scaffold_class" and name.lower() not in _RINGS:
            with rdBase.BlockLogs():
                mol = Chem.MolFromSmiles(name)
            return name if mol is None else Chem.MolToSmiles(mol)
        if self.kind == "environment":
            return self._cluster(name)
        return name.lower().replace("_", " ")

    def _cluster(self, name: str) -> str:
        """The number of the cluster that has these words; what is no cluster's words stays."""
        called = [number for number, words in self.words.items() if words.lower() == name.lower()]
        if len(called) > 1:
            raise SettingsError(
                f"train.hold_out: {name!r} are the clusters {' and '.join(called)}; "
                f"name one by its number: {self.told()}"
            )
        return called[0] if called else name


def holdable(kind: str, molecules: Sequence[Molecule]) -> Holdable:
    """What of this kind (one of ``KINDS``) can be held out of the molecules."""
    if kind == "elements":
        return Holdable(kind, len(molecules), _by_elements(molecules))
    mols: dict[int, Chem.Mol] = {}
    for number, molecule in enumerate(molecules):
        try:
            mols[number] = perceive(molecule)
        except InputError:
            continue
    gone = np.setdiff1d(np.arange(len(molecules)), np.fromiter(mols, np.int64, len(mols)))
    if kind == "environment":
        having, words = _by_environment(mols)
        return Holdable(kind, len(molecules), having, words, gone)
    look = _scaffolds if kind == "scaffold_class" else _groups
    return Holdable(kind, len(molecules), _by_label(mols, look), {}, gone)


def _by_label(
    mols: dict[int, Chem.Mol], labels: Callable[[Chem.Mol], Sequence[str]]
) -> dict[str, Numbers]:
    """Label -> molecules that have it; house names in their order, others the commonest first."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, mol in mols.items():
        for label in labels(mol):
            found[label].append(number)
    known = [*_RINGS, *GROUPS]
    first = [name for name in known if name in found]
    others = sorted(found.keys() - set(known), key=lambda name: (-len(found[name]), name))
    return {name: np.array(found[name]) for name in (*first, *others)}


def _groups(mol: Chem.Mol) -> list[str]:
    return [name for name, smarts in GROUPS.items() if occurrences(mol, smarts)]


def _scaffolds(mol: Chem.Mol) -> list[str]:
    """The class by independent rings, and the Murcko scaffold where there is a ring."""
    rings = mol.GetNumBonds() - mol.GetNumAtoms() + len(Chem.GetMolFrags(mol))
    words = [_RINGS[min(rings, len(_RINGS) - 1)]]
    return [*words, MurckoScaffold.MurckoScaffoldSmiles(mol=mol)] if rings else words


def _by_elements(molecules: Sequence[Molecule]) -> dict[str, Numbers]:
    """Exact combinations, the commonest first; then each element whatever stands beside it."""
    exact: dict[str, list[int]] = defaultdict(list)
    for number, molecule in enumerate(molecules):
        exact[_formula(symbol(int(z)) for z in np.unique(molecule.numbers))].append(number)
    names = sorted(exact, key=lambda name: (-len(exact[name]), name))
    having = {name: np.array(exact[name]) for name in names}
    alone = sorted({element for name in names for element in _elements(name)})
    return having | {f"{name}+": _containing(having, f"{name}+") for name in alone}


def _containing(exact: dict[str, Numbers], name: str) -> Numbers:
    """Molecules of the combinations that hold all elements of ``name`` ("NO+")."""
    wanted = set(_elements(name))
    found = [
        rows
        for other, rows in exact.items()
        if wanted <= set(_elements(other)) and not other.endswith("+")
    ]
    return np.sort(np.concatenate([np.empty(0, np.int64), *found]))


def _elements(name: str) -> list[str]:
    return re.findall("[A-Z][a-z]?", name)


def _formula(elements: Iterable[str]) -> str:
    """Carbon first, the others by name; hydrogen only where there is nothing else."""
    heavy = sorted(set(elements) - {"H"}, key=lambda name: (name != "C", name))
    return "".join(heavy) or "H"


# ---------------------------------------------------------------------------- environments


def _by_environment(mols: dict[int, Chem.Mol]) -> tuple[dict[str, Numbers], dict[str, str]]:
    """Molecules that hold an atom of each cluster, and each cluster's commonest atom in words.

    Clusters are numbered from 1, that of the most molecules first.
    """
    seen: dict[tuple[tuple[int, int], ...], int] = {}
    words: list[Counter[str]] = []
    holders: list[set[int]] = []
    for number, mol in mols.items():
        heavy = Chem.RemoveHs(mol)
        invariants = rdMolDescriptors.GetConnectivityInvariants(heavy)
        for atom in heavy.GetAtoms():
            place = seen.setdefault(_shells(atom, invariants), len(seen))
            if place == len(words):
                words.append(Counter())
                holders.append(set())
            words[place][_in_words(atom)] += 1
            holders[place].add(number)
    if not seen:
        return {}, {}
    environments = sorted(seen)  # whatever the order of the molecules
    cluster = np.empty(len(seen), np.int64)
    cluster[[seen[one] for one in environments]] = _clusters(environments)
    members = [np.flatnonzero(cluster == one) for one in np.unique(cluster)]
    rows = [sorted(set().union(*(holders[place] for place in mine))) for mine in members]
    told = [_commonest(sum((words[place] for place in mine), Counter())) for mine in members]
    order = sorted(range(len(rows)), key=lambda one: (-len(rows[one]), told[one]))
    having = {str(rank): np.array(rows[one]) for rank, one in enumerate(order, 1)}
    return having, {str(rank): told[one] for rank, one in enumerate(order, 1)}


def _commonest(words: Counter[str]) -> str:
    return min(words, key=lambda word: (-words[word], word))


def _shells(atom: Chem.Atom, invariants: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(shell, invariant) of the atom, its neighbours and theirs, each as often as it occurs."""
    around = list(atom.GetNeighbors())
    near = {atom.GetIdx(), *(other.GetIdx() for other in around)}
    beyond = {further.GetIdx() for other in around for further in other.GetNeighbors()} - near
    shells = ([atom.GetIdx()], [other.GetIdx() for other in around], beyond)
    return tuple(sorted((n, invariants[i]) for n, shell in enumerate(shells) for i in shell))


def _clusters(environments: Sequence[tuple[tuple[int, int], ...]]) -> Numbers:
    """The cluster of each environment, by k-means over its counts of invariants."""
    from sklearn.cluster import KMeans  # a second to load

    columns = {pair: column for column, pair in enumerate(sorted(set().union(*environments)))}
    counts = np.zeros((len(environments), len(columns)))
    for row, environment in enumerate(environments):
        for shell, invariant in environment:
            counts[row, columns[shell, invariant]] += _SHELL_WEIGHTS[shell] ** 0.5
    wanted = min(CLUSTERS, len(environments))
    return np.asarray(KMeans(wanted, n_init=4, random_state=0).fit_predict(counts), np.int64)


def _in_words(atom: Chem.Atom) -> str:
    """ "CH2 of C, N": an atom with its hydrogens, and the heavy atoms bonded to it."""
    hydrogens = atom.GetTotalNumHs()
    name = atom.GetSymbol() + ("H" if hydrogens else "") + (str(hydrogens) if hydrogens > 1 else "")
    others = sorted(other.GetSymbol() for other in atom.GetNeighbors())
    ring = "ring " if atom.IsInRing() else ""
    return f"{ring}{name} of {', '.join(others)}" if others else name
