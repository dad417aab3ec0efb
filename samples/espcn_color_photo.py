"""A net that sees brightness only enlarges a colour photograph: ESPCN on luma, plain bicubic on chroma.

    python samples/espcn_color_photo.py [FOLDER]

The batch, the height and the width of the exported model are dynamic: one file takes one photograph or many.
Writes espcn.onnx and espcn.png. Needs: pip install "onnx-graphkit[cpu,torch,image]"
"""

import sys
from pathlib import Path

import numpy as np
import torch
from images import luma, photograph, picture, psnr, shrink
from PIL import Image
from super_resolution import espcn

import graphkit as gk

FACTOR = 3


def main(folder: Path) -> int:
    """Export, compare with torch on one and on two photographs, write the colour picture."""
    folder.mkdir(parents=True, exist_ok=True)
    module, args = espcn()
    dynamic = {"luma": {0: "batch", 2: "height", 3: "width"}}
    gk.export(module, args, folder / "espcn.onnx", dynamic=dynamic)
    operators = gk.inspect(folder / "espcn.onnx").operators
    print(f"PixelShuffle became DepthToSpace: {operators}")

    truth = photograph()
    small = shrink(truth, truth.shape[2] // FACTOR)
    mirrored = small.flip(3)
    session = gk.session(folder / "espcn.onnx", device="cpu")
    for batch in (small, torch.cat([small, mirrored])):
        (made,) = session.run({"luma": luma(batch).numpy()}).values()
        with torch.inference_mode():
            error = abs(made - module(luma(batch)).numpy()).max()
        print(f"{len(batch)} photographs, {made.shape}: max |ONNX - torch| = {error:.1e}")
        assert error < 1e-5

    brightness, blue, red = picture(small).convert("YCbCr").split()
    size = truth.shape[3], truth.shape[2]
    (sharp,) = session.run({"luma": (np.asarray(brightness, np.float32) / 255)[None, None]}).values()
    planes = [
        picture(torch.from_numpy(sharp)),
        *(plane.resize(size, Image.Resampling.BICUBIC) for plane in (blue, red)),
    ]
    Image.merge("YCbCr", planes).convert("RGB").save(folder / "espcn.png")

    plain = torch.nn.functional.interpolate(luma(small), scale_factor=FACTOR, mode="bicubic")
    before, after = psnr(plain, luma(truth)), psnr(torch.from_numpy(sharp), luma(truth))
    print(f"luma at x{FACTOR}: bicubic {before:.2f} dB, ESPCN {after:.2f} dB; wrote {folder / 'espcn.png'}")
    return 0 if after > before else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
