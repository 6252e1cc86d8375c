"""A camera's image fitted in by torch, on the device where it is: core.images.resize for a GPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def letterbox(image: Tensor, size: tuple[int, int]) -> Tensor:
    """All of the image in another size, with black beside it: as the CPU's `pad`.

    Both halve by averaging as often as it fits, then interpolate: they differ by one grey level at
    most, because OpenCV's weights have 11 bits. Where a size that is to be halved is odd, OpenCV
    weighs fractions of pixels, which this does not: `halves_evenly` says for which sizes it is.

    Args:
        image: B x H x W x 3, uint8.
        size: height and width.

    Returns:
        B x height x width x 3, uint8.
    """
    height, width = size
    inner_height, inner_width = _inner(image.shape[1:3], size)
    pixels = image.permute(0, 3, 1, 2).float()
    while pixels.shape[2] > 2 * inner_height and pixels.shape[3] > 2 * inner_width:
        pixels = _rounded(F.avg_pool2d(pixels, 2))
    pixels = _rounded(F.interpolate(pixels, (inner_height, inner_width), mode="bilinear"))
    top = (height - inner_height) // 2
    left = (width - inner_width) // 2
    sides = (left, width - inner_width - left, top, height - inner_height - top)
    return F.pad(pixels, sides).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def halves_evenly(image: tuple[int, int], size: tuple[int, int]) -> bool:
    """Does `letterbox` give what the CPU gives, for an image of this height and width?"""
    height, width = image
    inner_height, inner_width = _inner(image, size)
    while height > 2 * inner_height and width > 2 * inner_width:
        if height % 2 or width % 2:
            return False
        height //= 2
        width //= 2
    return True


def _inner(image: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what the image fills."""
    scale = min(size[0] / image[0], size[1] / image[1])
    return max(1, round(scale * image[0])), max(1, round(scale * image[1]))


def _rounded(pixels: Tensor) -> Tensor:
    """Half a level is rounded up, as OpenCV does where it halves."""
    return (pixels + 0.5).floor()
