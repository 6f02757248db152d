"""A dataset on disk: manifest, clips, splits, digest, card.

    DATASET/
      dataset.json               description and settings        info.py
      manifest.parquet           one row per candidate clip      folder.py
      clips/ keypoints/ poses/   three files per kept clip       folder.py
      identities.csv             who was joined, and why         identities.py
      splits/*.csv               each identity on one side       side_lists.py
      clips-*.parquet            the kept clips of each side     cards.py
      README.md croissant.json   card, machine-readable card     cards.py
      removals.json              what was removed for good       removal.py

`finalise` writes everything except the clips; `Dataset.open` reads a dataset.
"""

from tpbench.dataset.finishing import finalise, make_split, split_dataset
from tpbench.dataset.folder import Dataset, clip_path, keypoints_path, pose_path
from tpbench.dataset.info import (
    Clip,
    Counts,
    DatasetInfo,
    Direction,
    Measurement,
    RunStats,
    SplitInfo,
    SplitName,
    Status,
    check_clip_id,
    content_digest,
    count,
)
from tpbench.dataset.manifest import read_clips, read_manifest, write_manifest
from tpbench.dataset.splitting import SplitRequest, SplitResult, assign_split, empty_side_warning

__all__ = [
    "Clip", "Counts", "Dataset", "DatasetInfo", "Direction", "Measurement", "RunStats",
    "SplitInfo", "SplitName", "SplitRequest", "SplitResult", "Status", "assign_split",
    "check_clip_id", "clip_path", "content_digest", "count", "empty_side_warning", "finalise",
    "keypoints_path", "make_split", "pose_path", "read_clips", "read_manifest", "split_dataset",
    "write_manifest",
]  # fmt: skip
