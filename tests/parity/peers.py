"""The libraries that published weights come from, as the judges of ours."""

from __future__ import annotations

from importlib.metadata import version

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float scale, SymInt height, SymInt width, int ratio, bool aligned) -> Tensor",
)
_declared = []


def declare_torchvision_ops() -> None:
    """Lets torchvision be imported for its transforms where its compiled operators do not fit torch.

    The CPU build of torch with the torchvision of the package index is such a pair. No ViT calls the operators that
    are declared here.
    """
    if not _declared and version("torch").endswith("+cpu") and not version("torchvision").endswith("+cpu"):
        library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            library.define(schema)
        _declared.append(library)
