"""Hands by MediaPipe's palm detector and hand landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.flow import Points
from tpbench.detectors.lite import LiteNetwork, SquareCrop, digest, model_bytes, turn_rad
from tpbench.detectors.sparse import SAME_SHARE, are_same, gap_share, size_px
from tpbench.detectors.ssd import BoxDetector, FoundBox
from tpbench.video import Window

_PALM_LAYERS: Final = ((8, 2), (16, 6))
_PALM_SCALE: Final = 2.6
_PALM_SHIFT: Final = 0.5
"""A hand lies this share of the palm's size beyond its middle, towards the fingers."""
_HAND_SCALE: Final = 2.0
_HAND_SHIFT: Final = 0.1
_STEADY: Final = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
"""Landmarks that place the next crop: all but the outer halves of the fingers."""
_WRIST, _INDEX, _MIDDLE, _RING = 0, 5, 9, 13
_PALM_WRIST, _PALM_MIDDLE = 0, 2
_MIN_SCORE: Final = 0.5
_NUM_LANDMARKS: Final = 21


_MAX_HANDS: Final = 2
_TOLERANCE: Final = 0.1
"""By how much the flow may miss a landmark, in sizes of the hand: 8 px of 80. Between two anchors
it is off by far less."""
_SETTLED_SHARE: Final = 0.25
"""A hand found further from where it was looked for, in its sizes, is looked for again."""
_DOUBT: Final = 0.1
"""Where the network is less sure than before by more than this, its crop may be to blame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandView:
    """Where hands are searched for in one frame."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    window: Window | None
    """Palms are searched for only here; None: everywhere."""


class HandNetworks:
    """Finds the hands of one frame, searched for or near where they were.

    A palm must be about 6 % of the searched image's side to be found.

    Args:
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
    """

    def __init__(self, *, offline: bool = False) -> None:
        palms = model_bytes("mediapipe-palm-detector", offline=offline)
        landmarks = model_bytes("mediapipe-hand-landmarks", offline=offline)
        network = LiteNetwork(palms, ("Identity", "Identity_1"))
        self._palms = BoxDetector(network, _PALM_LAYERS, min_score=_MIN_SCORE)
        self._landmarks = LiteNetwork(landmarks, ("Identity", "Identity_1", "Identity_2"))
        self.model_digest: Final = digest(palms, landmarks, "direct")

    def search(
        self, image: NDArray[np.uint8], window: Window | None, known: Sequence[Points], most: int
    ) -> list[Points]:
        """Return the hands of an image that are not known yet, the surest palms first.

        Args:
            image: (H, W, 3) uint8 RGB.
            window: search only here.
            known: hands of this image that were already found.
            most: return at most this many.
        """
        view = image if window is None else window.cut(image)
        origin = np.zeros(2) if window is None else np.array(window[:2], dtype=np.float64)
        found: list[Points] = []
        for palm in self._palms.find(view):
            if len(found) >= most:
                break
            crop = _crop_of_palm(palm, origin, self._landmarks.input_px)
            if any(_covers(crop, hand) for hand in (*known, *found)):
                continue
            hand = self._at(image, crop)
            if hand is not None and not any(are_same(hand, other) for other in (*known, *found)):
                found.append(hand)
        return found

    def follow(self, image: NDArray[np.uint8], last: Points) -> Points | None:
        """Return the hand near where it was in another frame; None if it is not there."""
        crop = _crop_of_hand(last[:, :2], self._landmarks.input_px)
        return self._at(image, crop)

    def _at(self, image: NDArray[np.uint8], crop: SquareCrop) -> Points | None:
        values, presence, right = self._landmarks.run(crop.cut(image, replicate=True))
        if float(presence[0]) < _MIN_SCORE:
            return None
        points = crop.points_px(values.reshape(_NUM_LANDMARKS, 3)[:, :2])
        side = float(right[0])
        return np.column_stack([points, np.full(len(points), max(side, 1.0 - side))])


class HandFinder:
    """Follows up to two hands through the frames of a stretch; see `SparseTracker`.

    Palms are searched for in anchors only, and only while fewer than two hands are followed.

    Args:
        networks: the models.
        doubts: look again where the network is much less sure than it was. From one frame to the
            next this is what the picture shows; over several frames the crop may be to blame.
    """

    def __init__(self, networks: HandNetworks, *, doubts: bool) -> None:
        self._networks = networks
        self._doubts = doubts

    def anchor(self, item: HandView, expected: Sequence[Points]) -> list[Points]:
        """Return the hands where they are expected, and others if those are fewer than two."""
        hands = self.near(item, expected)
        missing = _MAX_HANDS - len(hands)
        return hands + (
            self._networks.search(item.image, item.window, hands, missing) if missing else []
        )

    def near(self, item: HandView, guesses: Sequence[Points]) -> list[Points]:
        """Return the hands near where they are expected."""
        hands: list[Points] = []
        for guess in guesses:
            hand = self._settled(item.image, guess)
            # Two hands that meet may both be followed to the same one.
            if hand is not None and not any(are_same(hand, other) for other in hands):
                hands.append(hand)
        return hands

    def _settled(self, image: NDArray[np.uint8], guess: Points) -> Points | None:
        """Return the hand near a guess, looked for again where the guess was far off or unsure."""
        hand = self._networks.follow(image, guess)
        if hand is not None and gap_share(hand, guess) > _SETTLED_SHARE:
            hand = self._networks.follow(image, hand)
        if hand is None or not self._doubts or hand[0, 2] >= guess[0, 2] - _DOUBT:
            return hand
        again = self._networks.follow(image, hand)
        # The later of the two, not the surer: the choice would make every hand look surer.
        return hand if again is None else again

    def tolerance_px(self, points: Points) -> NDArray[np.float64]:
        """Return how far each landmark may be off."""
        return np.full(len(points), _TOLERANCE * size_px(points))


def _covers(crop: SquareCrop, hand: Points) -> bool:
    """Whether a crop is centred on a hand that is known already."""
    middle = crop.points_px(np.full((1, 2), crop.input_px / 2))[0]
    return bool(np.hypot(*(hand[_MIDDLE, :2] - middle)) <= SAME_SHARE * size_px(hand))


def _crop_of_palm(palm: FoundBox, origin: NDArray[np.float64], input_px: int) -> SquareCrop:
    angle = turn_rad(palm.points_px[_PALM_WRIST], palm.points_px[_PALM_MIDDLE])
    low, high = palm.box_px[:2], palm.box_px[2:]
    up = np.array([np.sin(angle), -np.cos(angle)])
    middle = (low + high) / 2 + _PALM_SHIFT * (high - low)[1] * up + origin
    return SquareCrop.around(
        middle, _PALM_SCALE * float((high - low).max()), angle, input_px=input_px
    )


def _crop_of_hand(points: NDArray[np.float64], input_px: int) -> SquareCrop:
    knuckles = (points[_INDEX] + points[_RING]) / 4 + points[_MIDDLE] / 2
    angle = turn_rad(points[_WRIST], knuckles)
    along = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    level = points[_STEADY] @ along.T
    low, high = level.min(axis=0), level.max(axis=0)
    middle = (low + high) / 2 - np.array([0.0, _HAND_SHIFT * (high - low)[1]])
    side = _HAND_SCALE * float((high - low).max())
    return SquareCrop.around(middle @ along, side, angle, input_px=input_px)
