"""Functionals by the names that Psi4 gives them, as LibXC composes them.

A method means the same whichever engine computes it: ``tests/response/pyscf`` compares each of
these with Psi4's functional of that name, energies and shares of exact exchange.  What is not here
is refused: double hybrids, dispersion corrections, non-local correlation, and names that Psi4 gives
to something else (its tpss0 is TPSSh).
"""

from __future__ import annotations

_COMBINED = {
    "HYB_GGA": (
        "b1lyp b1pw91 b1wc b3lyp b3lyp5 b3lyps b3p86 b3pw91 b5050lyp b97-1 b97-1p b97-2 b97-3 "
        "b97-k bhandh bhandhlyp cam-b3lyp cap0 edf2 hjs-b88 hjs-b97x hjs-pbe hjs-pbe-sol "
        "hpbeint hse03 hse06 lrc-wpbe lrc-wpbeh mb3lyp-rc04 mpw1k mpw1pw mpw3lyp mpw3pw "
        "mpwlyp1m o3lyp pbe0-13 pbeh revb3lyp sb98-1a sb98-1b sb98-1c sb98-2a sb98-2b sb98-2c "
        "tuned-cam-b3lyp wb97 wb97x x3lyp"
    ),
    "HYB_MGGA": "b86b95 b88b95 bb1k mpw1b95 mpwb1k pw6b95 pw86b95 pwb6k revtpssh tpssh x1b95 xb1k",
    "GGA": (
        "b97-gga1 edf1 kt2 mohlyp mohlyp2 mpwlyp1w pbe1w pbelyp1w th-fc th-fcfo th-fco th-fl "
        "th1 th2 th3 th4 xlyp"
    ),
    "LDA": "ksdt teter93",
    "MGGA": "tpsslyp1w",
}
"""Those that LibXC has as one, FAMILY_XC_NAME."""

_OF_TWO = {
    "HYB_MGGA": "dldf m05 m05-2x m06 m06-2x m06-hf m08-hx m08-so m11 mn12-sx mn15",
    "GGA": "gam n12 pbe pw91 sogga11",
    "MGGA": "m06-l m11-l mn12-l mn15-l pkzb r2scan revtpss scan tpss",
    "HYB_GGA": "n12-sx sogga11-x",
}
"""Exchange and correlation of one name, FAMILY_X_NAME and FAMILY_C_NAME."""

_OTHERS = {
    "b1b95": "HYB_MGGA_XC_B88B95",
    "b86bpbe": "GGA_X_B86_MGC + GGA_C_PBE",
    "b97-0": "HYB_GGA_XC_B97",
    "bhhlyp": "HYB_GGA_XC_BHANDHLYP",
    "blyp": "GGA_X_B88 + GGA_C_LYP",
    "bop": "GGA_X_B88 + GGA_C_OP_B88",
    "bp86": "GGA_X_B88 + GGA_C_P86",
    "ft97": "GGA_X_FT97_B + GGA_C_FT97",
    "hcth": "GGA_XC_HCTH_93",
    "hcth120": "GGA_XC_HCTH_120",
    "hcth147": "GGA_XC_HCTH_147",
    "hcth407": "GGA_XC_HCTH_407",
    "hcth407p": "GGA_XC_HCTH_407P",
    "hcth93": "GGA_XC_HCTH_93",
    "hcthp14": "GGA_XC_HCTH_P14",
    "hcthp76": "GGA_XC_HCTH_P76",
    "hjs-pbesol": "HYB_GGA_XC_HJS_PBE_SOL",
    "m052x": "HYB_MGGA_X_M05_2X + MGGA_C_M05_2X",
    "m062x": "HYB_MGGA_X_M06_2X + MGGA_C_M06_2X",
    "m06hf": "HYB_MGGA_X_M06_HF + MGGA_C_M06_HF",
    "m06l": "MGGA_X_M06_L + MGGA_C_M06_L",
    "m08hx": "HYB_MGGA_X_M08_HX + MGGA_C_M08_HX",
    "m08so": "HYB_MGGA_X_M08_SO + MGGA_C_M08_SO",
    "m11l": "MGGA_X_M11_L + MGGA_C_M11_L",
    "mgga-ms0": "MGGA_X_MS0 + GGA_C_REGTPSS",
    "mgga-ms1": "MGGA_X_MS1 + GGA_C_REGTPSS",
    "mgga-ms2": "MGGA_X_MS2 + GGA_C_REGTPSS",
    "mgga-ms2h": "HYB_MGGA_X_MS2H + GGA_C_REGTPSS",
    "mgga-mvs": "MGGA_X_MVS + GGA_C_REGTPSS",
    "mgga-mvsh": "HYB_MGGA_X_MVSH + GGA_C_REGTPSS",
    "mgga_ms0": "MGGA_X_MS0 + GGA_C_REGTPSS",
    "mgga_ms1": "MGGA_X_MS1 + GGA_C_REGTPSS",
    "mgga_ms2": "MGGA_X_MS2 + GGA_C_REGTPSS",
    "mgga_ms2h": "HYB_MGGA_X_MS2H + GGA_C_REGTPSS",
    "mgga_mvs": "MGGA_X_MVS + GGA_C_REGTPSS",
    "mgga_mvsh": "HYB_MGGA_X_MVSH + GGA_C_REGTPSS",
    "mn12l": "MGGA_X_MN12_L + MGGA_C_MN12_L",
    "mn12sx": "HYB_MGGA_X_MN12_SX + MGGA_C_MN12_SX",
    "mn15l": "MGGA_X_MN15_L + MGGA_C_MN15_L",
    "mpw1lyp": "0.25 * HF + 0.75 * GGA_X_MPW91 + GGA_C_LYP",
    "mpw1pbe": "0.25 * HF + 0.75 * GGA_X_MPW91 + GGA_C_PBE",
    "mpw1pw91": "HYB_GGA_XC_MPW1PW",
    "mpwpw": "GGA_X_MPW91 + GGA_C_PW91",
    "ms2h": "HYB_MGGA_X_MS2H + GGA_C_REGTPSS",
    "mvsh": "HYB_MGGA_X_MVSH + GGA_C_REGTPSS",
    "n12sx": "HYB_GGA_X_N12_SX + GGA_C_N12_SX",
    "op-pbe": "GGA_X_PBE + GGA_C_OP_PBE",
    "oppbe": "GGA_X_PBE + GGA_C_OP_PBE",
    "pbe0": "HYB_GGA_XC_PBEH",
    "pbe50": "0.5 * HF + 0.5 * GGA_X_PBE + GGA_C_PBE",
    "pbeop": "GGA_X_PBE + GGA_C_OP_PBE",
    "pw86pbe": "GGA_X_PW86 + GGA_C_PBE",
    "revpbe": "GGA_X_PBE_R + GGA_C_PBE",
    "revpbe0": "0.25 * HF + 0.75 * GGA_X_PBE_R + GGA_C_PBE",
    "rpbe": "GGA_X_RPBE + GGA_C_PBE",
    "sogga": "GGA_X_SOGGA + GGA_C_PBE",
    "sogga11x": "HYB_GGA_X_SOGGA11_X + GGA_C_SOGGA11_X",
    "svwn": "LDA_X + LDA_C_VWN_RPA",
    "vsxc": "MGGA_X_GVT4 + MGGA_C_VSXC",
}

FUNCTIONALS: dict[str, str] = dict(_OTHERS)
"""Psi4's name, in lower case, to PySCF's words."""


def _identifier(name: str) -> str:
    return name.upper().replace("-", "_")


for _family, _names in _COMBINED.items():
    FUNCTIONALS |= {name: f"{_family}_XC_{_identifier(name)}" for name in _names.split()}
for _family, _names in _OF_TWO.items():
    _correlation = _family.removeprefix("HYB_")
    FUNCTIONALS |= {
        name: f"{_family}_X_{_identifier(name)} + {_correlation}_C_{_identifier(name)}"
        for name in _names.split()
    }
