"""What `nvidia-smi` lists on a machine of three GPUs."""

LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa0000-1111)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-aabb0000-2222)
  MIG 3g.40gb     Device  0: (UUID: MIG-cccc-1)
  MIG 3g.40gb     Device  1: (UUID: MIG-cccc-2)
GPU 2: NVIDIA A100 (UUID: GPU-dddd0000-3333)
"""
