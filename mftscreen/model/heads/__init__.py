r"""Property heads beyond those of deepmd-kit, as its plugins.

deepmd-kit imports this package by the entry point in the group ``deepmd.pt``, so that
``dp`` trains, tests and loads such heads wherever mftscreen is installed. A head is a
module with its fitting net; what the rest of mftscreen knows of it stands in
:mod:`mftscreen.head_forms`.

Beside them, the loss of heads for yes or no is registered
(:mod:`mftscreen.model.heads.yes_no`).

Heads for molecules are ⟨R²⟩ and the norm of the dipole moment. In deepmd-kit's input, a
model (an entry of ``model_dict``) has ``"type": "molecular_property"`` and a fitting
net of type ``r2`` or ``dipole_norm``, otherwise with the keys of ``property``.

With :math:`d_i` the vector from the centre of mass to atom i, the values are

.. math::
    \langle R^2\rangle &= \sum_i w_i |d_i|^2, & w_i &= s\,\mathrm{MLP}(x_i) + p(Z_i) \\
    \mu &= \Big|\sum_i q_i d_i + v_i\Big|, & (q_i, v_i) &= s\,(\mathrm{MLP}_0(x_i),
        \sum_k \mathrm{MLP}_k(x_i)\,R_{ik})

where :math:`x_i` is the invariant and :math:`R_{ik}` the equivariant descriptor of an
atom (deepmd-kit's ``rot_mat``, vectors that turn with the molecule). Both are written
as sums over atoms, for μ with the projections on the direction of the dipole, since
deepmd-kit reduces what an atomic model gives by summing it. The scale :math:`s` and the
biases :math:`p` come from the training labels: :math:`p` solves
:math:`\sum_z p_z \sum_{i \in z} |d_i|^2 = y` in the least-square sense, as Eq. 17 does.

The centre of mass is that of standard atomic weights. Values hold for molecules only:
a crystal has no centre.

References
----------
* ⟨R²⟩: K. T. Schütt et al., PaiNN, arXiv:2102.03150
* dipole: L. Zhang et al., Phys. Rev. B 102, 041121 (2020),
  doi:10.1103/PhysRevB.102.041121
* both as in section D.2 of arXiv:2601.08486
"""

from importlib import import_module

from mftscreen.head_forms import HEAD_FORMS

import_module(f"{__name__}.yes_no")  # a loss, of heads of deepmd-kit's own
for _form in HEAD_FORMS.values():
    if not _form.atomic:
        import_module(f"{__name__}.{_form.fitting}")  # registers it with deepmd-kit
