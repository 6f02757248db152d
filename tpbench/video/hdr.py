"""High dynamic range shown as standard dynamic range, by fixed rules.

Both curves of ITU-R BT.2100, PQ (SMPTE ST 2084) and HLG (ARIB STD-B67), are undone to light. HLG
gets the system gamma 1.2 of a display that peaks at 1000 cd/m2, channel by channel, which gives the
colours of a picture shot in SDR (the "traditional" ones of ITU-R BT.2390; on luminance alone, as
HDR displays do it, they would be paler). Diffuse white is 203 cd/m2 (ITU-R BT.2408) and becomes the
white of SDR; what is brighter is clipped. Primaries go to those of BT.709
(BT.2020 is taken for granted where none are declared), colours outside are clipped, and the light
is encoded by BT.1886 (gamma 2.4). No frame is treated unlike another, so nothing flickers; what was
graded in SDR and then packed into HDR comes back as it was.

Transfer curves of SDR differ little from one another and are left as they are, as ffmpeg does.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHITE_CD_M2: Final = 203.0
"""Diffuse white of HDR (ITU-R BT.2408), which becomes the white of SDR."""

PQ: Final = 16
HLG: Final = 18
HDR_CURVES: Final = {PQ: "PQ", HLG: "HLG"}
"""Transfer characteristics of ITU-T H.273 that are HDR."""

UNSHOWN_CURVES: Final = {8: "linear light", 9: "logarithmic", 10: "logarithmic", 17: "DCI XYZ"}
"""Transfer characteristics that nothing here undoes; shown as they are they look washed out."""

_HLG_PEAK_CD_M2: Final = 1000.0
_HLG_SYSTEM_GAMMA: Final = 1.2
_SDR_GAMMA: Final = 2.4

_TO_XYZ: Final = {
    1: ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)),
    9: ((0.6370, 0.1446, 0.1689), (0.2627, 0.6780, 0.0593), (0.0000, 0.0281, 1.0610)),
    12: ((0.4866, 0.2657, 0.1982), (0.2290, 0.6917, 0.0793), (0.0000, 0.0451, 1.0439)),
}
"""Linear RGB to CIE XYZ by colour primaries of ITU-T H.273: BT.709, BT.2020, Display P3."""


def shown_as_sdr(rgb: NDArray[np.uint16], *, curve: int, primaries: int) -> NDArray[np.uint8]:
    """Return the picture as an SDR display shows it; the module's docstring states the rules.

    Args:
        rgb: (H, W, 3) uint16, the coded values on a scale of 65535, alike in all channels.
        curve: `PQ` or `HLG`.
        primaries: of ITU-T H.273; what is not BT.709 or Display P3 counts as BT.2020.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    import cv2

    light = _light(curve)[rgb]
    if primaries != 1:
        light = cv2.transform(light, _to_bt709(12 if primaries == 12 else 9))
    shown = cv2.pow(np.clip(light, 0, 1), 1 / _SDR_GAMMA)
    return np.asarray(cv2.convertScaleAbs(shown, alpha=255), dtype=np.uint8)


@cache
def _light(curve: int) -> NDArray[np.float32]:
    """Light by coded value, (65536,), 1 for diffuse white."""
    coded = np.arange(65536) / 65535
    if curve == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)
        light_cd_m2 = _HLG_PEAK_CD_M2 * scene**_HLG_SYSTEM_GAMMA
    else:
        root = coded ** (1 / 78.84375)
        numerator = np.maximum(root - 0.8359375, 0)
        ratio = numerator / (18.8515625 - 18.6875 * root)
        light_cd_m2 = 10000 * ratio ** (1 / 0.1593017578125)
    return (light_cd_m2 / WHITE_CD_M2).astype(np.float32)


@cache
def _to_bt709(primaries: int) -> NDArray[np.float32]:
    """Matrix from linear RGB of these primaries to linear RGB of BT.709, (3, 3)."""
    matrix = np.linalg.inv(np.array(_TO_XYZ[1])) @ np.array(_TO_XYZ[primaries])
    matrix /= matrix.sum(axis=1, keepdims=True)  # white stays white
    return np.asarray(matrix, dtype=np.float32)
